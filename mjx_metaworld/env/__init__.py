"""The environment: `make` builds one, whose `reset`, `reset_to` and `step` are pure functions of its state."""

from __future__ import annotations

from collections.abc import Sequence

from mjx_metaworld.env.environment import (
    ACTION_SIZE,
    GOALS,
    REWARD_VERSIONS,
    EngineFactory,
    MetaWorldEnv,
    PixelsFactory,
)
from mjx_metaworld.env.starts import Goals
from mjx_metaworld.inputs.checks import check_physics
from mjx_metaworld.physics.backend import Backend
from mjx_metaworld.physics.config import Execution, PhysicsConfig
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.randomise.drawing import Term
from mjx_metaworld.suites import Tasks, resolve
from mjx_metaworld.tasks.spec import RewardVersion
from mjx_metaworld.types import EPISODE_STEPS

__all__ = ["ACTION_SIZE", "GOALS", "REWARD_VERSIONS", "EngineFactory", "MetaWorldEnv", "PixelsFactory", "make"]


def make(
    tasks: Tasks,
    *,
    goal_observable: bool = True,
    one_hot: bool = False,
    reward_version: RewardVersion = "v2",
    max_episode_steps: int = EPISODE_STEPS,
    terminate_on_success: bool = False,
    physics: PhysicsConfig | None = None,
    backend: Backend | Execution = "auto",
    engine: EngineFactory | None = None,
    pixels: PixelsFactory | None = None,
    randomise: Term | Sequence[Term] | None = None,
    privileged: bool = False,
    goals: Goals = "nearest",
) -> MetaWorldEnv:
    """Build an environment for a task, a list of tasks, or a suite.

    Args:
        tasks: a name such as "reach-v3", a suite such as "MT10", a declaration (`TaskSpec`), or several of these in any
            mix, such as `["MT10", "my-task", spec]` or "reach-v3,push-v3".
        goal_observable: whether the last three entries of the Meta-World observation show the goal or zeros.
        one_hot: append the task's one-hot vector to the observation.
        reward_version: which of the reference's reward functions, "v2" (0 to 10) or the older "v1" (unbounded).
        max_episode_steps: control steps until truncation.
        terminate_on_success: report `terminated` at the first success (the reference never terminates).
        physics: accuracy of the engine, its fixed sizes and iteration counts; the defaults when None.
        backend: how batches are laid out: "cpu", "accelerator" (any GPU or TPU), "cuda" (with kernels of our own for
            NVIDIA's GPUs), or "auto", that of JAX's default backend; or an `Execution` of one's own.
        engine: what simulates; by default MuJoCo's physics. `testing.KinematicEngine` compiles in a second instead.
        pixels: cameras whose pictures stand beside the state, in `state.pixels`: `mw.Pixels("corner2", 64, 64)`, or a
            function that makes, of the environment, a function which draws one environment's state.
        randomise: what every reset draws for its episode, in `state.randomised`: terms such as
            `mw.randomise.friction(0.5, 1.5)`, or functions of one's own.
        privileged: append the episode's parameters to the observation, before a one-hot vector.
        goals: from which settled state `reset` starts in the nine tasks where it depends on the goal: that of the
            "nearest" of 128 places of the fixture, or the one that is "settled" for this very goal, by MuJoCo on the
            host through a callback (some 20 ms of a core each); or let it draw one of the 128 "banked" goals alone.

    A scene of one's own that loses contacts while it moves, for want of slots, is warned of with the `physics` that has
    them.

    Raises:
        ValueError: for an unknown task or suite (with near matches), a task given twice, a scene of one's own that does
            not fit or loses contacts at rest for want of slots in `physics`, a task that accepts no goal within its
            bounds, a reward version that there is not, a bad episode length, a boolean option that is none, an unknown
            backend or kind of goals, and for `privileged` where nothing is randomised.
        TypeError: if `tasks` or `physics` is nothing of the kind, if `engine`, `pixels` or a term of `randomise` is no
            function, or if a term does not return what it should.
        ImportError, RuntimeError: where `pixels` cannot be drawn, see `mw.camera`.
        ForkError: in a process that was forked after JAX had begun to work, as from `reset`, `reset_to` and `step`.
    """
    check_threads("mw.make")
    if engine is not None and not callable(engine):
        raise TypeError(f"engine must make the physics, as testing.KinematicEngine does, or be None, got {engine!r}")
    return MetaWorldEnv(
        resolve(tasks),
        goal_observable=goal_observable,
        one_hot=one_hot,
        reward_version=reward_version,
        max_episode_steps=max_episode_steps,
        terminate_on_success=terminate_on_success,
        physics=check_physics(physics),
        backend=backend,
        engine=engine,
        pixels=pixels,
        randomise=randomise,
        privileged=privileged,
        goals=goals,
    )
