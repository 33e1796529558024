"""MkDocs hooks: a page and a picture of every task, made from the registry while the site is built.

`DOCS_PICTURES=0` leaves the pictures out, which checks pages and links in seconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs runs a hook without its folder

import task_pages

from mjx_metaworld.suites import list_tasks, resolve


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the tasks' pages into the navigation."""
    pages = ["tasks/index.md", *({name: f"tasks/{name}.md"} for name in list_tasks())]
    config.nav = [entry if "Tasks" not in entry else {"Tasks": pages} for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Generate the tasks' pages and pictures."""
    pictures = {} if os.environ.get("DOCS_PICTURES") == "0" else task_pages.pictures()
    for name, content in pictures.items():
        files.append(File.generated(config, f"tasks/{name}.png", content=content))
    files.append(File.generated(config, "tasks/index.md", content=task_pages.index()))
    for spec in resolve(list_tasks()):
        content = task_pages.page(spec, picture=spec.name in pictures)
        files.append(File.generated(config, f"tasks/{spec.name}.md", content=content))
    return files
