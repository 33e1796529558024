"""Quick tests by default, what CI runs with `--ci`, the long forms with `--full`; physics that modules ask for."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

# What tests compile runs a few times at most, so LLVM does its least; of `mw.jit`, whose own options take precedence,
# `support/economy.py` asks the same. The older code generator takes half the time of the newer,
# and a small program in one piece two thirds of that of its pieces.
_FLAGS = "--xla_disable_hlo_passes=cpu-parallel-task-assigner --xla_backend_optimization_level=0"
if tuple(int(part) for part in version("jaxlib").split(".")[:2]) < (0, 12):  # later ones abort at a flag they lack
    _FLAGS += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAGS}".strip()

# What is compiled is kept for the next run, found by all of its code; in an empty folder it is compiled afresh.
_KEPT = os.environ.setdefault("MJX_METAWORLD_TESTS_CACHE", platformdirs.user_cache_dir("mjx-metaworld-tests"))
os.environ.setdefault("MJX_METAWORLD_CACHE", os.path.join(_KEPT, "package"))
_KEPT_BYTES = 1 << 30  # beyond which the older half of what JAX keeps is forgotten

# Tracing allocates millions of objects that live on; to look for cycles among them each time takes a fifth of its time.
gc.set_threshold(100_000, 20, 100)

import pytest  # noqa: E402

_FOLDER, _QUICK = "MJX_METAWORLD_TESTS_FOLDER", "MJX_METAWORLD_TESTS_QUICK"  # `support/economy.py` reads them

# Marks for `--dist loadgroup` would say it where it belongs, but xdist 3.8 does not hand them to its scheduler.
_GROUPS = {
    "the program of MT50": (
        "test_contract.py",
        "test_env.py",
        "test_kinematic_engine.py",
        "parity/test_steps.py",
        "parity/test_episodes.py",
        "physics/test_accelerator_layout.py",
    ),
    "the original scenes": ("physics/test_smooth_dynamics.py", "scenes/test_scenes.py"),
    "contacts along rollouts": ("physics/test_collision.py", "physics/test_contact_selection.py"),
    "states of rollouts": (
        "physics/test_constraint.py",
        "physics/test_solver.py",
        "physics/test_compaction.py",
        "physics/test_groups.py",
        "physics/test_cuda_kernels.py",
    ),
    "a simulation that is watched": ("view/test_page.py", "view/test_sources.py", "view/test_viewer.py"),
    "rewards of rollouts": ("tasks/test_rewards.py", "experts/test_expert.py"),
}
_TOGETHER = {file: group for group, files in _GROUPS.items() for file in files}
_LONGEST = {
    *_TOGETHER,
    "cli/test_cli.py",
    "processes/test_forks.py",
    "project/test_notebooks.py",
    "project/test_shapes.py",
    "rendering/test_camera.py",
    "rendering/test_divided_pixels.py",
    "rendering/test_pixels.py",
    "rendering/test_rendering.py",
    "test_bad_input.py",
    "test_copies.py",
    "test_loops.py",
    "test_sharding.py",
    "test_state_is_data.py",
    "training/test_checkpoint.py",
    "training/test_clone.py",
    "training/test_devices.py",
    "training/test_learning.py",
    "training/test_ppo.py",
    "training/test_sac.py",
}


def _file_of(nodeid: str) -> str:
    return nodeid.split("::")[0].removeprefix("tests/")


@pytest.fixture(scope="session", autouse=True)
def _economize() -> None:
    from support.economy import economize

    economize()


@pytest.fixture
def scratch_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and suites that a test declares are forgotten at its end."""
    from support.registry import forget_afterwards

    forget_afterwards(monkeypatch)


def pytest_configure(config: pytest.Config) -> None:
    """Folders that the test processes and those that tests start share: of this run, and for what is compiled."""
    if _FOLDER not in os.environ:
        os.environ[_FOLDER] = folder = tempfile.mkdtemp(prefix="mjx-metaworld-tests-")
        if config.args_source is pytest.Config.ArgsSource.ARGS:  # whoever names files or tests asks for theirs
            config.option.ci = True  # which the test processes are told
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        programs = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(_KEPT, "programs"))
        _forget_older_half(Path(programs))
        # The thousands of single operations too: to read one again takes half the time of compiling it.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        if not config.getoption("--full"):  # the long forms take many steps
            os.environ[_QUICK] = "1"


def _forget_older_half(folder: Path) -> None:
    """Of the files those that were not read for longest, where there are too many bytes of them."""
    files = [(path, path.stat()) for path in folder.glob("*")]
    files.sort(key=lambda file: max(file[1].st_mtime, file[1].st_atime))  # many systems note a reading once a day
    if sum(status.st_size for _, status in files) > _KEPT_BYTES:
        for path, _ in files[: len(files) // 2]:
            path.unlink(missing_ok=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ci", action="store_true", help="also run what is marked `ci`, as where files are named")
    parser.addoption("--full", action="store_true", help="run everything, also the long forms, marked `full`")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file run in one process, with those of other files that use the same programs or recordings."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = _file_of(nodeid)
            return _TOGETHER.get(file, file)

    config.option.loadscopereorder = False  # it would begin with the files of most tests, which are not the longest
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _file_of(item.nodeid) not in _LONGEST)  # or one process would end with them alone
    if config.getoption("--full"):
        return
    left_out = ["full"] if config.getoption("--ci") else ["full", "ci"]
    skipped = [item for item in items if any(item.get_closest_marker(mark) for mark in left_out)]
    config.hook.pytest_deselected(items=skipped)
    items[:] = [item for item in items if item not in skipped]


@pytest.fixture(scope="module")
def kinematic() -> Iterator[None]:
    """Environments are made without dynamics, also by adapters, commands and trainers, unless told otherwise."""
    from support.engines import default_engine

    from mjx_metaworld.testing import KinematicEngine

    with default_engine(KinematicEngine):
        yield


@pytest.fixture
def true_physics(kinematic: None) -> Iterator[None]:
    """The true physics, for the long form of a test in a module that does without."""
    from support.engines import default_engine

    from mjx_metaworld.physics.engine import Engine

    with default_engine(Engine):
        yield


@pytest.fixture
def few_goals(monkeypatch, request) -> None:
    """Metaworld draws as many goals a task as the module's `NUM_GOALS` says, which would stay with it after a test."""
    import metaworld

    monkeypatch.setattr(metaworld, "_N_GOALS", request.module.NUM_GOALS)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, which background jobs of a shell ignore, and such a job may run these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def drawn(monkeypatch):
    """Pictures drawn by every call from now on."""
    from mjx_metaworld.rendering.device import bridge

    counts, draw_batch = [], bridge.draw_batch

    def count(picture, arrays, situation, layers, image, depth, label):
        counts.append(image.shape[0])
        draw_batch(picture, arrays, situation, layers, image, depth, label)

    monkeypatch.setattr(bridge, "draw_batch", count)
    return counts
