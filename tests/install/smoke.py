"""Install the built wheel into environments of its own, away from the sources, and run it there.

Run by `make smoke` and `make nightly`, which build into dist/ first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

from interpreters import ROOT, UV, find, supported

HERE = Path(__file__).parent
PACKAGE = ROOT / "mjx_metaworld"
INHERITED = ("PYTHONPATH", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "VIRTUAL_ENV")  # not for the installed package


def main() -> int:
    """Check the wheel on each Python asked for; 1 if it fails on one of them or if none is at hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    versions = supported()
    parser.add_argument(
        "--pythons",
        nargs="+",
        choices=["all", *versions],
        default=[f"{sys.version_info.major}.{sys.version_info.minor}"],
        help="versions to install on; those that this machine does not have are skipped",
    )
    parser.add_argument(
        "--newest",
        action="store_true",
        help="take the newest versions of all dependencies, not the locked ones, and check jax at length on the newest "
        "of these Pythons",
    )
    args = parser.parse_args()
    wanted = versions if "all" in args.pythons else [version for version in versions if version in args.pythons]
    at_hand = {version: python for version in wanted if (python := find(version)) is not None}
    for version in wanted:
        if version not in at_hand:
            print(f"Python {version}: not at hand, skipped", flush=True)
    if not at_hand:
        print(f"no Python at hand of {', '.join(wanted)}")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        try:
            (wheel,) = (ROOT / "dist").glob("*.whl")
            check_contents(wheel, Path(folder))
            for version, python in at_hand.items():
                at_length = args.newest and version == list(at_hand)[-1]
                check_on(python, wheel, Path(folder, version), newest=args.newest, at_length=at_length)
        except subprocess.CalledProcessError as error:
            print(f"failed: {' '.join(map(str, error.cmd))}")
            return 1
    return 0


def check_contents(wheel: Path, folder: Path) -> None:
    """Check that the wheel, built from the sdist, holds the package's files and addresses and is that of the sources.

    Raises:
        AssertionError: if a file is missing, or differs.
    """
    build = [UV, "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", folder, ROOT]
    subprocess.run(build, check=True)
    (direct,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as from_sdist, zipfile.ZipFile(direct) as from_sources:
        shipped = {name: from_sdist.read(name) for name in from_sdist.namelist()}
        assert shipped == {name: from_sources.read(name) for name in from_sources.namelist()}, (
            "sdist and sources differ"
        )
    sources = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    missing = [name for name in (path.relative_to(ROOT).as_posix() for path in sources) if name not in shipped]
    assert not missing, f"not in the wheel: {', '.join(missing)}"
    (metadata,) = (content for name, content in shipped.items() if name.endswith(".dist-info/METADATA"))
    addresses = dict(line.split(", ", 1) for line in message_from_bytes(metadata).get_all("Project-URL", []))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert addresses == declared, addresses
    print(f"{wheel.name}: {len(sources)} files, the same from the sdist and from the sources", flush=True)


def check_on(python: Path, wheel: Path, folder: Path, *, newest: bool, at_length: bool) -> None:
    """Install the wheel and nothing else into a fresh environment in a folder, and run the checks there.

    Raises:
        CalledProcessError: if it cannot be installed, or if a check fails.
    """
    start = time.perf_counter()
    environment, cache = clean_environment(folder)
    subprocess.run([UV, "venv", "-q", "--no-project", "--python", python, folder / "env"], check=True, env=environment)
    installed = folder / "env" / "bin" / "python"
    locked = [] if newest else ["-c", ROOT / "requirements" / "demo.lock"]
    install = [UV, "pip", "install", "-q", "--cache-dir", cache, "--python", installed, *locked, wheel]
    subprocess.run(install, check=True, env=environment)
    scripts = ["check_installed.py", *(["check_newest.py"] if at_length else [])]
    for script in scripts:  # -I: neither the folder of the script nor the working directory is on the path
        subprocess.run([installed, "-I", HERE / script], check=True, cwd=folder, env=environment)
    print(f"{python}: passed {' and '.join(scripts)} in {time.perf_counter() - start:.0f} s", flush=True)


def clean_environment(folder: Path) -> tuple[dict[str, str], str]:
    """Variables for an installed package whose caches lie in a folder, and uv's own cache, which stays where it is."""
    environment = {name: value for name, value in os.environ.items() if name not in INHERITED}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")  # the states of resets are settled anew
    cache = subprocess.run([UV, "cache", "dir"], check=True, capture_output=True, text=True).stdout.strip()
    return environment, cache


if __name__ == "__main__":
    sys.exit(main())
