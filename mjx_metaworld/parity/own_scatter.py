"""Scatter of the reference itself: its own control steps, taken again under changes that ought not to matter.

A difference between it and the environment here says nothing where the reference differs from itself by as much. Two
changes are tried from every state that is compared: the state rounded to float32, which is all that the environment
here is told of it, and a tighter tolerance of MuJoCo's convex routine, which by default ends its search within 1e-6 m
of the deepest point and takes the position found so far.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld.observation import FRAME
from mjx_metaworld.parity.record import Style, rollout
from mjx_metaworld.parity.reference import reference_env, reference_policy, start_reference

TOLERANCE = 1e-10  # m, instead of 1e-6
_ITERATIONS = 200  # instead of 50, which are too few for it
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class OwnScatter(NamedTuple):
    """Largest absolute difference in the observed frame of the reference's steps from themselves, one entry a step."""

    rounded: np.ndarray  # (n,) from the state rounded to float32
    tightened: np.ndarray  # (n,) with the tighter tolerance
    tightened_obs: np.ndarray  # (n, 39) after those steps


def own_scatter(
    name: str, rand_vecs: np.ndarray, *, style: Style, num_steps: int, every: int = 1, seed: int = 0
) -> OwnScatter:
    """Roll the reference out, as `steps.record_steps` does with the same arguments, and take its steps again.

    Args:
        name: the task.
        rand_vecs: (n, rand) goal vectors, an episode each.
        style: of the actions, see `record.rollout`.
        num_steps: control steps an episode.
        every: thinning.
        seed: of what wanders.
    """
    cpu_env, rounding, tight = (reference_env(name) for _ in range(3))
    policy, rng = reference_policy(name).get_action, np.random.default_rng(seed)
    rounded, tightened, tightened_obs = [], [], []
    for rand_vec in rand_vecs:
        first, *_ = (start_reference(env, name, rand_vec) for env in (cpu_env, rounding, tight))
        tight.model.opt.ccd_tolerance, tight.model.opt.ccd_iterations = TOLERANCE, _ITERATIONS
        for turn in rollout(cpu_env, first, policy, style=style, num_steps=num_steps, rng=rng):
            if turn.index % every == 0:
                for twin in (rounding, tight):
                    _copy_state(cpu_env, twin)
                _round(rounding.data)
                there = turn.take().obs
                rounded.append(largest_difference(rounding.step(turn.action)[0], there))
                tightened_obs.append(tight.step(turn.action)[0].copy())
                tightened.append(largest_difference(tightened_obs[-1], there))
    for env in (cpu_env, rounding, tight):
        env.close()
    return OwnScatter(*map(np.array, (rounded, tightened, tightened_obs)))


def largest_difference(obs: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Largest absolute difference in the observed frames of observations (..., 39)."""
    return np.abs(obs[..., FRAME] - other[..., FRAME]).max(-1)


def _copy_state(of: SawyerXYZEnv, to: SawyerXYZEnv) -> None:
    state = np.zeros(mujoco.mj_stateSize(of.model, _STATE))
    mujoco.mj_getState(of.model, of.data, state, _STATE)
    mujoco.mj_setState(to.model, to.data, state, _STATE)
    to.curr_path_length = of.curr_path_length


def _round(data: mujoco.MjData) -> None:
    for array in (data.qpos, data.qvel, data.qacc_warmstart, data.mocap_pos):
        array[:] = array.astype(np.float32)
