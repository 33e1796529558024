"""The configuration of a run: what it holds, how it is written down beside its checkpoints, and ready-made ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from mjx_metaworld.inputs.checks import check_physics
from mjx_metaworld.physics.config import PhysicsConfig
from mjx_metaworld.randomise.naming import check_text
from mjx_metaworld.suites import GOALS_SEED, NUM_GOALS, Tasks
from mjx_metaworld.tasks.registry import registered
from mjx_metaworld.tasks.spec import RewardVersion, TaskSpec
from mjx_metaworld.training.algorithm import Algorithm, TrainingEnv, check_positive, plain, plain_fields
from mjx_metaworld.training.clone import CloneConfig, make_clone
from mjx_metaworld.training.fastsac import FastSACConfig, make_fastsac
from mjx_metaworld.training.ppo import PPOConfig, make_ppo
from mjx_metaworld.training.rl2 import RL2Config, make_rl2
from mjx_metaworld.training.sac import SACConfig, make_sac
from mjx_metaworld.training.view import Sight
from mjx_metaworld.types import EPISODE_STEPS

AlgorithmConfig = PPOConfig | SACConfig | FastSACConfig | RL2Config | CloneConfig


class Registered(NamedTuple):
    """An algorithm by its name on the command line."""

    config: type
    make: Callable[[Any, TrainingEnv], Algorithm]


ALGORITHMS = {
    "ppo": Registered(PPOConfig, make_ppo),
    "sac": Registered(SACConfig, make_sac),
    "fastsac": Registered(FastSACConfig, make_fastsac),
    "rl2": Registered(RL2Config, make_rl2),
    "clone": Registered(CloneConfig, make_clone),
}
_DEFAULT_PHYSICS = PhysicsConfig()


@dataclass(frozen=True)
class TrainConfig:
    """A run: tasks, algorithm, how long, and how often to look.

    Raises:
        ValueError: for a field out of range.
        TypeError: for `physics` of another kind.
    """

    tasks: str | tuple[str, ...]  # names and suites; of declarations the names
    algorithm: AlgorithmConfig
    env_steps: int = 1_000_000  # over all lanes; the last iteration may go beyond
    reward_version: RewardVersion = "v2"
    randomise: tuple[str, ...] = ()  # drawn by training episodes alone, see `randomise.naming`
    eval_every: int = 100_000  # environment steps between two evaluations
    eval_goals: int = NUM_GOALS  # of the frozen goals a task
    goals_seed: int = GOALS_SEED  # of the frozen goals
    checkpoint_every: int = 100_000  # environment steps between two checkpoints
    stop_at_success: float | None = None  # end early once an evaluation's mean success is at least this
    physics: PhysicsConfig = _DEFAULT_PHYSICS  # accuracy of the engine, in training and evaluation

    def __post_init__(self) -> None:
        plain_fields(self)
        object.__setattr__(self, "tasks", _task_names(self.tasks))
        object.__setattr__(self, "physics", check_physics(self.physics))
        if self.stop_at_success is not None:
            object.__setattr__(self, "stop_at_success", plain("stop_at_success", self.stop_at_success, 1.0))
        check_positive(self, "env_steps", "eval_every", "checkpoint_every")
        if not 1 <= self.eval_goals <= NUM_GOALS:
            raise ValueError(f"eval_goals must be in 1..{NUM_GOALS}, got {self.eval_goals}")
        if self.stop_at_success is not None and not 0 < self.stop_at_success <= 1:
            raise ValueError(f"stop_at_success must be in (0, 1], got {self.stop_at_success}")
        for text in self.randomise:
            check_text(text)
        algorithm_name(self.algorithm)


def _task_names(tasks: Tasks) -> str | tuple[str, ...]:
    """Names, as a run's record holds them, of whatever `mw.make` takes.

    Raises:
        ValueError: for a task that is not declared, whose name would tell a later process nothing.
    """
    if isinstance(tasks, str):
        return tasks
    given = (tasks,) if isinstance(tasks, TaskSpec) else tuple(tasks)
    for spec in given:
        if isinstance(spec, TaskSpec) and spec not in registered():
            raise ValueError(f"tasks of a run are found again by their names; declare {spec.name} with @task")
    return tuple(spec.name if isinstance(spec, TaskSpec) else spec for spec in given)


def algorithm_name(config: AlgorithmConfig) -> str:
    """The name of a configuration's algorithm on the command line.

    Raises:
        ValueError: if it is no algorithm's.
    """
    for name, (kind, _) in ALGORITHMS.items():
        if type(config) is kind:
            return name
    raise ValueError(f"no algorithm has the configuration {config!r}; there are {', '.join(ALGORITHMS)}")


def tasks_text(config: TrainConfig) -> str:
    """Tasks of a configuration as a command line takes them."""
    return config.tasks if isinstance(config.tasks, str) else ",".join(config.tasks)


def sight_of(config: AlgorithmConfig) -> Sight | None:
    """The sight of the policy that a configuration trains; None where it acts on observations."""
    return config.sight() if isinstance(config, CloneConfig) else None


def trial_episodes_of(config: AlgorithmConfig) -> int | None:
    """Episodes of a trial in which a configuration trains; None where every episode has a goal of its own."""
    return config.trial_episodes if isinstance(config, RL2Config) else None


def differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """Fields in which two runs differ, in words, but for those of how long and how often."""
    shaping = ("tasks", "reward_version", "randomise", "eval_goals", "goals_seed")  # the latter choose the best policy
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in shaping]
    pairs += [
        (f"physics.{field.name}", getattr(one.physics, field.name), getattr(other.physics, field.name))
        for field in dataclasses.fields(PhysicsConfig)
    ]
    if type(one.algorithm) is not type(other.algorithm):
        pairs.append(("algorithm", algorithm_name(one.algorithm), algorithm_name(other.algorithm)))
    else:
        pairs += [
            (field.name, getattr(one.algorithm, field.name), getattr(other.algorithm, field.name))
            for field in dataclasses.fields(one.algorithm)
        ]
    return [f"{name} {was!r}, now {now!r}" for name, was, now in pairs if was != now]


def as_json(config: TrainConfig) -> dict[str, Any]:
    """Configuration as JSON data, which `from_json` reads back."""
    return dataclasses.asdict(config) | {
        "algorithm": {"name": algorithm_name(config.algorithm), **dataclasses.asdict(config.algorithm)}
    }


def from_json(data: Any) -> TrainConfig:
    """The configuration that `as_json` wrote.

    Raises:
        ValueError: if it is none.
    """
    try:
        algorithm = dict(data["algorithm"])
        registered = ALGORITHMS[algorithm.pop("name")]
        physics = PhysicsConfig(**data.get("physics", {}))  # runs of before it was written have the defaults
        built = {"algorithm": registered.config(**_tuples(algorithm)), "physics": physics}
        return TrainConfig(**_tuples(data) | built)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no configuration of a training run: {error}") from error


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


# --- ready-made configurations ---


class Preset(NamedTuple):
    """A configuration with a name, and what it is meant for."""

    name: str
    meant_for: str
    config: TrainConfig


_CPU = PPOConfig()
_GPU = PPOConfig(
    num_envs=4096,
    horizon=32,
    episode_steps=EPISODE_STEPS,
    hidden=(512, 512),
    minibatches=16,
    entropy_weight=1e-3,
)
_GPU_SAC = SACConfig(
    num_envs=1280,
    horizon=4,
    episode_steps=EPISODE_STEPS,
    hidden=(400, 400, 400),
    updates_per_step=1 / 80,
    batch_per_task=128,
    replay_size=2_000_000,
    warmup_steps=50_000,
    learning_rate=3e-4,
    temperature_rate=3e-4,
)


# Of several tasks there are as many lanes as the simulation is quickest with, and the critics are small: two cores
# simulate so quickly that what an update multiplies decides how long learning takes. `benchmarks.learner_share`
# measures both sides; sections 29, 31, 38 and 39 of its log have them.
_CPU_FAST = FastSACConfig()
_CPU_FAST_MT10 = FastSACConfig(
    num_envs=1280,
    horizon=4,
    critic_hidden=(128, 128),
    batch_per_task=64,
    updates=32,
    replay_size=2_000_000,
    warmup_steps=60_000,
)
_CPU_FAST_MT50 = FastSACConfig(
    num_envs=1500,
    horizon=8,
    actor_hidden=(256, 256),
    critic_hidden=(128, 128),
    batch_per_task=32,
    updates=14,
    replay_size=4_000_000,
    warmup_steps=120_000,
)

# A GPU collects in milliseconds what two cores do in a second, and its updates cost their number more than their size:
# more lanes, rows and units than above, and as many updates a rollout.
_GPU_FAST_MT10 = FastSACConfig(
    num_envs=5120,
    horizon=4,
    actor_hidden=(256, 256),
    critic_hidden=(512, 512),
    batch_per_task=256,
    updates=32,
    replay_size=4_000_000,
    warmup_steps=200_000,
)
_GPU_FAST_MT50 = FastSACConfig(
    num_envs=12_800,
    horizon=4,
    actor_hidden=(512, 512),
    critic_hidden=(1024, 1024),
    batch_per_task=64,
    updates=32,
    replay_size=10_000_000,
    warmup_steps=500_000,
)

# Trials of two episodes, since evaluation needs one to adapt, and as in PPO every episode counts as if it went on. With
# such networks three epochs take, by the time of a core, less than the simulation does.
_CPU_ML10 = RL2Config(
    num_envs=320,
    hidden=(256, 256),
    memory_hidden=(128,),
    memory=128,
    minibatches=8,
    epochs=3,
    across_episodes=False,
    entropy_weight=0.005,  # without it the policy stops trying things out, and with that what it does in tasks held out
)


def _single(task: str) -> Preset:
    config = TrainConfig(task, _CPU, env_steps=4_000_000, eval_every=100_000, stop_at_success=0.98)
    return Preset(f"{task}-cpu", "two CPU cores, 30 minutes", config)


def _single_fast(task: str) -> Preset:
    config = TrainConfig(
        task, _CPU_FAST, env_steps=4_000_000, eval_every=100_000, checkpoint_every=100_000, stop_at_success=0.98
    )
    return Preset(f"{task}-fastsac-cpu", "two CPU cores, 30 minutes", config)


PRESETS = (
    Preset(
        "reach-v3-cpu",
        "two CPU cores, 10 minutes",
        TrainConfig(
            "reach-v3", _CPU, env_steps=1_000_000, eval_every=50_000, checkpoint_every=50_000, stop_at_success=0.98
        ),
    ),
    _single("drawer-close-v3"),
    _single("button-press-topdown-v3"),
    _single("window-open-v3"),
    Preset(
        "reach-v3-sac-cpu",
        "one CPU core, 25 minutes",
        TrainConfig(
            "reach-v3", SACConfig(), env_steps=400_000, eval_every=20_000, checkpoint_every=50_000, stop_at_success=0.98
        ),
    ),
    *(_single_fast(task) for task in ("reach-v3", "push-v3", "pick-place-v3", "drawer-open-v3")),
    Preset(
        "MT10-fastsac-cpu",
        "two CPU cores, 100 minutes",
        TrainConfig(
            "MT10",
            _CPU_FAST_MT10,
            env_steps=30_000_000,
            eval_every=1_000_000,
            checkpoint_every=4_000_000,
            stop_at_success=0.98,
        ),
    ),
    Preset(
        "MT50-fastsac-cpu",
        "two CPU cores, 140 minutes",
        TrainConfig(
            "MT50",
            _CPU_FAST_MT50,
            env_steps=40_000_000,
            eval_every=4_000_000,
            checkpoint_every=4_000_000,
            stop_at_success=0.98,
        ),
    ),
    Preset(
        "ML10-rl2-cpu",
        "meta-learning of hidden goals: two CPU cores, 10 minutes",
        TrainConfig(
            "ML10-train",
            _CPU_ML10,
            env_steps=6_000_000,  # more serve the training tasks, and take from those held out
            eval_every=500_000,
            eval_goals=10,
            checkpoint_every=1_000_000,
        ),
    ),
    Preset(
        "reach-v3-clone-cpu",
        "a policy that sees 64x64 pictures (extra `pixels`): two CPU cores, 40 minutes",
        TrainConfig(
            "reach-v3",
            CloneConfig(),
            env_steps=100_000,
            eval_every=10_000,
            checkpoint_every=20_000,
            stop_at_success=0.98,
        ),
    ),
    Preset(
        "MT10-gpu",
        "one GPU with 40 GB, 30 minutes",
        TrainConfig("MT10", _GPU, env_steps=200_000_000, eval_every=5_000_000, checkpoint_every=5_000_000),
    ),
    Preset(
        "MT10-fastsac-gpu",
        "one GPU, 5 minutes, not tried on one yet",
        TrainConfig(
            "MT10",
            _GPU_FAST_MT10,
            env_steps=100_000_000,
            eval_every=5_000_000,
            checkpoint_every=25_000_000,  # with its buffer it has more than a gigabyte
            stop_at_success=0.98,
        ),
    ),
    Preset(
        "MT50-fastsac-gpu",
        "one GPU, 10 minutes, not tried on one yet",
        TrainConfig(
            "MT50",
            _GPU_FAST_MT50,
            env_steps=300_000_000,
            eval_every=20_000_000,
            checkpoint_every=75_000_000,
            stop_at_success=0.98,
        ),
    ),
    Preset(
        "MT10-sac-gpu",
        "one GPU, not tried on one yet; its checkpoints hold the replay buffer, up to 0.7 GB each before compression",
        TrainConfig("MT10", _GPU_SAC, env_steps=50_000_000, eval_every=1_000_000, checkpoint_every=5_000_000),
    ),
)


def preset(name: str) -> TrainConfig:
    """A ready-made configuration.

    Raises:
        ValueError: if there is none of this name.
    """
    for entry in PRESETS:
        if entry.name == name:
            return entry.config
    raise ValueError(f"unknown preset {name!r}; available: {', '.join(entry.name for entry in PRESETS)}")
