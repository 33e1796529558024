"""Trajectories of policies, made or read by name: what `mw.record` and `mw.render` take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.episodes import batched, run_episodes
from mjx_metaworld.inputs.folders import no_run
from mjx_metaworld.inputs.keys import PRNGKey, as_typed
from mjx_metaworld.physics.checks import check_integer
from mjx_metaworld.rendering import render as rendering
from mjx_metaworld.trajectory import SUFFIX, Trajectory
from mjx_metaworld.types import Policy, State
from mjx_metaworld.view.acting import acting_of_run, is_run

_Place = Path | str
_STEPS, _EVERY = 160, 4  # two seconds, in 20 pictures a second


def record(
    env: MetaWorldEnv | _Place,
    policy: Policy | None = None,
    *,
    num_steps: int = _STEPS,
    every: int = _EVERY,
    num_envs: int | None = None,
    key: PRNGKey | None = None,
) -> Trajectory:
    """Run one episode in every lane of a batch and keep its states.

    No lane restarts: after its success, or after `max_episode_steps`, an episode goes on to the last step.

    Args:
        env: the environment; or a training run, by its folder, with what it has learnt.
        policy: `(obs (obs,), task ()) -> action (4,)` of one environment, in JAX, such as `mw.expert(env)`; a run
            brings its own.
        num_steps: control steps, 80 a second of simulated time, rounded down to a multiple of `every`.
        every: control steps between two moments that are kept.
        num_envs: lanes; lane i runs task i modulo their number. By default one a task.
        key: draws the goals.

    Raises:
        ValueError: for bad numbers, no policy or two of them, or a folder without a run.
        CheckpointError: if the run has no usable checkpoint.
        ImportError: for a run without the extra `train`.
    """
    if isinstance(env, MetaWorldEnv) and policy is not None:
        act = batched(lambda obs, task, key: policy(obs, task))
    elif not isinstance(env, MetaWorldEnv) and policy is None:
        env, act, _ = acting_of_run(_existing(env))
    else:
        raise ValueError("record takes an environment and a policy, or a training run, which brings both")
    every = check_integer("every", every)
    calls = check_integer("num_steps", num_steps, every) // every
    lanes = check_integer("num_envs", len(env.tasks) if num_envs is None else num_envs)
    keys = jax.random.split(jax.random.key(0) if key is None else as_typed(key), lanes)
    tasks = np.arange(lanes) % len(env.tasks)
    run = run_episodes(
        env,
        act,
        jit(lambda: jax.vmap(env.reset)(keys, jnp.asarray(tasks))),
        calls * every,
        steps_per_call=every,
        keep=True,
    )
    assert run.kept is not None, "kept as asked"
    return Trajectory.of(env, run.kept, every)


def open_trajectory(path: _Place) -> Trajectory:
    """A trajectory from its file, or `record` of a training run in its folder.

    Raises:
        ValueError: if there is neither.
        CheckpointError, ImportError: as `record`.
    """
    return Trajectory.load(_existing(path)) if str(path).endswith(SUFFIX) else record(path)


def render(
    env: MetaWorldEnv | Trajectory | _Place,
    state: State | None = None,
    camera: str = "corner2",
    width: int = 480,
    height: int = 480,
    **options: Any,
) -> np.ndarray:
    """Draw environments as MuJoCo draws the original scenes, goal included; see the guide to rendering.

    Args:
        env: the environment that the state belongs to; or, without a state, a trajectory, the file of one, or the
            folder of a training run, of which then two seconds are simulated and drawn.
        state: a single state, a batch, or a trajectory of batches: any number of leading axes, the same in all leaves.
        camera: one of `list_cameras()`, or "free": MuJoCo's free camera, where gymnasium's renderer leaves it.
        width: pixels.
        height: pixels.
        **options: those of `mjx_metaworld.rendering.render.render`: `camera_pos`, `lookat`, `depth`, `zbuffer`,
            `backend`, `num_threads`, `progress`, `on_picture`.

    Returns:
        uint8 `(..., height, width, 3)` with the state's leading axes, of a trajectory (moments, lanes); with `depth`
        float32 `(..., height, width)`, metres along the camera's axis and infinity where there is nothing.

    Raises:
        TypeError: for an environment without a state, or a trajectory with one.
        ValueError, RuntimeError, ForkError, ImportError: as `mjx_metaworld.rendering.render.render`.
    """
    if isinstance(env, MetaWorldEnv):
        if state is None:
            raise TypeError("an environment is drawn in a state: mw.render(env, state)")
        return rendering.render(env, state, camera, width, height, **options)
    if state is not None:
        raise TypeError("a trajectory holds its states: mw.render(trajectory)")
    trajectory = env if isinstance(env, Trajectory) else open_trajectory(env)
    return rendering.render(trajectory.env, trajectory.states, camera, width, height, **options)


def _existing(path: _Place) -> Path:
    """A file or folder that can be opened.

    Raises:
        ValueError: if it is neither a trajectory nor a training run.
    """
    path = Path(path)
    if path.suffix == SUFFIX:
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
    elif not is_run(path):
        raise ValueError(no_run(path))
    return path
