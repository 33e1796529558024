"""MkDocs hooks: a page and a picture of every task, a replay and the reference of the API, made with the site.

`DOCS_PICTURES=0` leaves the pictures out, which checks pages and links in seconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs runs a hook without its folder

import api_pages
import task_pages

from mjx_metaworld.suites import list_tasks, resolve


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation."""
    pages = ["tasks/index.md", *({name: f"tasks/{name}.md"} for name in list_tasks())]
    reference = ["api/index.md", *({page.title: f"api/{name}.md"} for name, page in api_pages.PAGES.items())]
    filled = {"Tasks": pages, "Reference": reference}
    config.nav = [{title: filled.get(title, entry[title]) for title in entry} for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Generate the tasks' pages and pictures, and the reference."""
    files.append(File.generated(config, "api/index.md", content=api_pages.index()))
    for name in api_pages.PAGES:
        files.append(File.generated(config, f"api/{name}.md", content=api_pages.page(name)))
    pictures = {} if os.environ.get("DOCS_PICTURES") == "0" else task_pages.pictures()
    if pictures:
        files.append(File.generated(config, "guides/replay.html", content=task_pages.replay()))
    for name, content in pictures.items():
        files.append(File.generated(config, f"tasks/{name}.png", content=content))
    files.append(File.generated(config, "tasks/index.md", content=task_pages.index()))
    for spec in resolve(list_tasks()):
        content = task_pages.page(spec, picture=spec.name in pictures)
        files.append(File.generated(config, f"tasks/{spec.name}.md", content=content))
    return files
