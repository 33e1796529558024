"""Configuration of the engine: backends by name, and bad values refused with what is allowed."""

import dataclasses
import math
import warnings

import pytest

import mjx_metaworld as mw
from mjx_metaworld.physics.backend import ACCELERATOR, CPU, CPU_XLA, CUDA, execution_of
from mjx_metaworld.physics.backends.cuda import kernels as cuda
from mjx_metaworld.physics.backends.cuda import nvrtc
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.processes import native


@pytest.fixture(autouse=True)
def compiled_for_the_cpu(monkeypatch):
    """A CPU's kernels run, as far as anybody asks."""
    monkeypatch.setattr(native, "_hindrance", lambda kernel: "")


@pytest.fixture
def nvrtc_is_there(monkeypatch):
    """The compiler of kernels, as far as anybody asks."""
    monkeypatch.setattr(nvrtc, "is_there", lambda: True)
    cuda.hindrance.cache_clear()
    yield
    cuda.hindrance.cache_clear()


@pytest.mark.usefixtures("nvrtc_is_there")
def test_backends_have_names(monkeypatch):
    named = {name: execution_of(name) for name in ("cpu", "cpu-xla", "accelerator", "cuda")}
    assert named == {"cpu": CPU, "cpu-xla": CPU_XLA, "accelerator": ACCELERATOR, "cuda": CUDA}
    own = dataclasses.replace(CPU, tile=8)
    assert execution_of(own) is own
    for platform, execution in (("cpu", CPU), ("gpu", CUDA), ("tpu", ACCELERATOR)):
        monkeypatch.setattr("jax.default_backend", lambda platform=platform: platform)
        assert execution_of("auto") is execution


@dataclasses.dataclass
class Gpu:
    """What is asked of a device."""

    compute_capability: str = "9.0"
    device_kind: str = "NVIDIA H100"


@pytest.mark.usefixtures("nvrtc_is_there")
@pytest.mark.parametrize(
    ("gpu", "failure", "reason"),
    [
        (Gpu(), None, None),
        (Gpu("7.5", "Tesla T4"), None, r"Tesla T4 is older than compute capability 8\.0"),
        (Gpu(), RuntimeError("no handler __gpu$xla.gpu.ptx"), r"a first kernel failed on NVIDIA H100 .*no handler"),
    ],
)
def test_kernels_that_do_not_run_are_left_out(monkeypatch, gpu, failure, reason):
    """A step takes longer then, which is said, and nothing else changes."""

    def probe(device):
        assert device is gpu
        if failure:
            raise failure

    monkeypatch.setattr(cuda, "local_gpus", lambda: [gpu])
    monkeypatch.setattr(cuda, "_probe", probe)
    if reason is None:
        assert execution_of("cuda") is CUDA
        return
    with pytest.warns(RuntimeWarning, match=reason):
        assert execution_of("cuda") == ACCELERATOR
    assert execution_of("cpu") is CPU


def test_without_nvrtc_kernels_are_left_out_without_a_word_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(nvrtc, "is_there", lambda: False)
    monkeypatch.setattr(cuda, "local_gpus", list)
    cuda.hindrance.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert execution_of("cuda") == ACCELERATOR
    cuda.hindrance.cache_clear()


def test_without_a_compiler_a_cpu_runs_programs_of_xla(monkeypatch):
    monkeypatch.setattr(native, "_hindrance", lambda kernel: "there is no compiler of C++")
    assert execution_of("cpu") == execution_of(CPU) == execution_of("cpu-xla") == CPU_XLA


def test_an_unknown_backend_is_refused_before_anything_is_built():
    with pytest.raises(
        ValueError, match="unknown backend 'gpu'; available: auto, cpu, cpu-xla, accelerator, cuda, or an Exec"
    ):
        mw.make("reach-v3", backend="gpu")


def test_an_environment_holds_accuracy_and_execution():
    physics = PhysicsConfig(max_contacts=16)
    env = mw.make("reach-v3", physics=physics, backend="accelerator")
    assert env.engine.config == EngineConfig(physics, ACCELERATOR)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("substeps", 0, "a positive integer"),
        ("box_pairs", -1, "an integer >= 0"),
        ("solver_iterations", 2.5, "a positive integer"),
        ("convex_iterations", True, "a positive integer"),
        ("max_contacts", -4, "a positive integer"),
        ("max_contacts", 30, "a multiple of 4"),
        ("solver_tolerance", math.nan, "a finite number >= 0"),
        ("solver_tolerance", -1e-3, "a finite number >= 0"),
        ("solver_tolerance", math.inf, "a finite number >= 0"),
    ],
)
def test_bad_accuracy_is_refused(field, value, allowed):
    with pytest.raises(ValueError, match=f"PhysicsConfig.{field} must be {allowed}, got {value!r}"):
        PhysicsConfig(**{field: value})


def test_some_pairs_must_be_tested():
    kinds = [field.name for field in dataclasses.fields(PhysicsConfig) if field.name.endswith("_pairs")]
    assert len(kinds) == 6
    with pytest.raises(ValueError, match="at least one kind of pairs"):
        PhysicsConfig(**dict.fromkeys(kinds, 0))


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("tile", -1, "an integer >= 0"),
        ("block", 1.5, "an integer >= 0"),
        ("pair_group", 0, "a positive integer"),
        ("compaction", -4, "an integer >= 0"),
        ("early_exit", 1, "True or False"),
        ("kernels", None, "True or False"),
        ("cpu_kernels", 2, "True or False"),
    ],
)
def test_bad_execution_is_refused(field, value, allowed):
    with pytest.raises(ValueError, match=f"Execution.{field} must be {allowed}, got {value!r}"):
        Execution(**{field: value})


def test_groups_must_divide_the_contacts():
    with pytest.raises(ValueError, match=r"contact_group must be 0 or a divisor of max_contacts \(48\), got 5"):
        EngineConfig(PhysicsConfig(), Execution(contact_group=5))
