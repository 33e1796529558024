"""The documentation builds without a broken link, its commands are understood, and its Python runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import api_pages
import field_tables
import pytest
import task_pages

import mjx_metaworld as mw
from mjx_metaworld.cli import main as cli
from mjx_metaworld.suites import list_tasks, resolve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUTSIDE = [*ROOT.glob("*.md"), *ROOT.glob("integrations/*/*.md")]  # documents that are not part of the site
# One needs LeRobot, and writes the whole dataset; its own tests run the same calls. `make clients` runs the other.
NOT_RUN = ("lerobot.md", "pytorch.md")
QUICK = ("command_line.md", "new_task.md")  # these compile one reset at most; the others take a minute each


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    title = r"(?: title=[^\n]*)?"
    return re.findall(rf"^```{language}{title}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """What a page wants in files, by their names: its code blocks with a title."""
    titled = r'^```\w+ title="([^"\n]+)"\n(.*?)^```'
    return dict(re.findall(titled, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_compiles(page):
    for code in blocks(page, "python"):
        compile(code, page.name, "exec")


@pytest.mark.ci
@pytest.mark.parametrize(
    "page",
    [
        page if page.name in QUICK else pytest.param(page, marks=pytest.mark.full)
        for page in WITH_PYTHON
        if page.name not in NOT_RUN
    ],
    ids=lambda page: page.stem,
)
def test_python_runs(page, tmp_path):
    """All blocks of a page in one process of its own, so that a task that a page declares stays there."""
    titled = files(page)
    for name, content in titled.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    script = "\n".join(code for code in blocks(page, "python") if code not in titled.values())
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path if titled else ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_commands_are_understood():
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("mjx-metaworld ")]
    assert len(commands) > 10
    by_name = {command.name: command for command in cli.COMMANDS}
    for _, name, *arguments in commands:
        assert cli.parse(by_name[name], arguments).command is not None


def test_every_public_name_is_in_the_reference_once():
    pages = [api_pages.page(name) for name in api_pages.PAGES if not api_pages.PAGES[name].packages]
    shown = re.findall(r"(?m)^::: mjx_metaworld\..*?(\w+)$", "\n".join(pages))
    assert sorted(shown) == sorted(set(mw.__all__) - {"randomise"}), "that module has a page of its own"


def test_the_reference_shows_the_comments_beside_fields():
    assert '| `task` | `Int[Array, ""]` |  | index into `env.tasks` |' in api_pages.page("environments")


@pytest.mark.full  # `.ci/run` builds the site as strictly
def test_site_builds_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs")
    environment = os.environ | {"DOCS_PICTURES": "0"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert all((tmp_path / "api" / name / "index.html").exists() for name in api_pages.PAGES)
    assert all((tmp_path / "tasks" / name / "index.html").exists() for name in list_tasks())


@pytest.mark.parametrize("document", OUTSIDE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_outside_the_site_have_no_broken_link(document):
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_the_readmes_example_is_short_enough_to_read():
    example, *_ = blocks(ROOT / "README.md", "python")
    assert len(example.splitlines()) <= 12


def test_a_tasks_page_holds_its_declaration():
    (spec,) = resolve("drawer-open-v3")
    text = task_pages.page(spec, picture=True)
    for part in ("# drawer-open-v3", "(drawer-open-v3.png)", "`sawyer_drawer`", "MT10", "Randomised: drawer x."):
        assert part in text
    assert "| 0 | -0.1 | 0.1 |\n| 1 | 0.9 | 0.9 |\n" in text
    assert "def drawer_open(s: RewardInputs)" in text
    assert "def drawer_open_v1(s: RewardInputs)" in text


@pytest.mark.full
def test_every_task_has_a_picture():
    pictures = task_pages.pictures()
    assert list(pictures) == list_tasks()
    assert all(content.startswith(b"\x89PNG") and len(content) > 5_000 for content in pictures.values())
    assert len(set(pictures.values())) == len(pictures)


def test_the_version_to_cite_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version = {{{project['version']}}}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_of_fields_are_up_to_date(tmp_path):
    """If not: `python docs/field_tables.py`."""
    written = tmp_path / "new_task.md"
    written.write_text(field_tables.GUIDE.read_text(encoding="utf-8"), encoding="utf-8")
    field_tables.main(written)
    assert written.read_text(encoding="utf-8") == field_tables.GUIDE.read_text(encoding="utf-8")
    assert all("|  |" not in table for table in field_tables.tables().values())  # nothing without a word on it
