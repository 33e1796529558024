"""The shapes and types that the package's annotations promise, checked by jaxtyping and beartype.

In a process of its own, in which functions are decorated as their modules are imported. Everything else is tested
undecorated: the checks would take their time at every call that is traced.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.children import environment

pytestmark = pytest.mark.ci


# Of the suite only rewards, placements and experts are traced, which have few forms; all else always.
@pytest.mark.parametrize("suite", ["reach-v3,door-open-v3", pytest.param("MT50", marks=pytest.mark.full)])
def test_what_is_public_keeps_its_annotations(suite):
    command = [sys.executable, "-W", "ignore", "-m", "support.checked_shapes", suite]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.startswith("checked")
