"""Helpers for tests: an engine that compiles in a second, and the state of a live reference environment."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld.build.readings import read_point, read_skeleton
from mjx_metaworld.build.tables import num_padded_points
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.inputs.keys import as_words
from mjx_metaworld.observation import FRAMES
from mjx_metaworld.physics.dynamics import Dynamics
from mjx_metaworld.physics.engine import Engine, Poses
from mjx_metaworld.physics.model import FINGER_DOFS, FREE, LINK0, PART_QPOS, PhysicsState
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.randomise.drawing import neutral, parameters
from mjx_metaworld.randomise.structs import Randomised
from mjx_metaworld.scenes.bodies import map_bodies
from mjx_metaworld.tasks.spec import RewardInputs, TaskSpec
from mjx_metaworld.types import NO_DISTANCE, Episode, State, first_state


class KinematicEngine(Engine):
    """Physics without dynamics, for tests of everything around the physics: `mw.make(..., engine=KinematicEngine)`.

    A step puts the hand where the mocap body is, carries the robot along without turning it, and opens or closes the
    gripper as far as the action says, at once. Objects stay where they are, and nothing touches. All of the rest is
    the real thing: tasks, resets, observations, rewards, metrics, and the ends of episodes; experts of tasks without
    objects, such as reach-v3, succeed. A step is exactly differentiable. It compiles in a fraction of the true one's
    time, so that tests of training loops, wrappers, autoreset and checkpoints need not wait for it.

    Positions of the arm's joints are those of the reset, so a picture shows the arm where it began.
    """

    def step(
        self,
        scene: jax.Array,
        state: PhysicsState,
        ctrl: jax.Array,
        cost_estimate: jax.Array,
        dynamics: Dynamics | None = None,
    ) -> tuple[PhysicsState, Poses, jax.Array]:
        """Move the hand to the mocap body and the fingers to their targets, whatever the dynamics, at equal cost."""
        state = jax.tree.map(jnp.asarray, state)  # which may have been kept on the host
        low, high = jnp.asarray(self.arm.limit_range[FINGER_DOFS], state.qpos.dtype).T
        fingers = low + (high - low) * (jnp.clip(ctrl, -1.0, 1.0) + 1.0) / 2.0
        state = state.replace(qpos=state.qpos.at[FINGER_DOFS].set(fingers), qvel=jnp.zeros_like(state.qvel))
        poses = self.poses(scene, state)
        robot = poses.xpos.at[LINK0:FREE].add(state.mocap_pos - poses.hand_pos)
        return state, poses.replace(xpos=robot, hand_pos=state.mocap_pos), cost_estimate

    def poses(self, scene: jax.Array, state: PhysicsState) -> Poses:
        """Poses of a state by forward kinematics alone, as one lane: nothing here is worth dividing into tiles."""
        lane = jax.tree.map(lambda x: jnp.asarray(x)[..., None], (scene, state))
        return jax.tree.map(lambda x: x[..., 0], self._poses_lanes(*lane))


# Attributes in which the reference remembers a point (by row of `TaskSpec.points`) as it was at reset. All other
# points whose initial position matters do not move.
REMEMBERED_POINTS = {
    "peg-insert-side-v3": {0: "peg_head_pos_init"},
    "dial-turn-v3": {0: "dial_push_position"},
    "stick-push-v3": {0: "stick_init_pos"},
    "stick-pull-v3": {0: "stick_init_pos"},
    "handle-press-v3": {1: "_handle_init_pos"},
    "handle-press-side-v3": {1: "_handle_init_pos"},
    "window-open-v3": {0: "window_handle_pos_init"},
    "window-close-v3": {0: "window_handle_pos_init"},
}


# The same of points of which it remembers the height alone.
REMEMBERED_HEIGHTS = {"assembly-v3": {2: "obj_height"}, "box-close-v3": {0: "objHeight"}}


def state_from_metaworld(env: MetaWorldEnv, task: int, cpu_env: SawyerXYZEnv) -> State:
    """The state of a reference environment between two control steps, lossless but for rounding to `env`'s floats.

    Reward and metrics are zero: the reference does not keep them. What `env` randomises has no effect on the episode.

    Args:
        env: the environment that the state is meant for.
        task: index into `env.tasks` of the task that `cpu_env` runs.
        cpu_env: a live metaworld environment, reset at least once.

    Raises:
        ValueError: if `cpu_env` runs another task's scene, or no episode.
    """
    check_threads("state_from_metaworld")
    spec = env.tasks[task]
    if spec.scene_spec.own is not None or not cpu_env.fullpath.endswith(f"/{spec.scene_name}.xml"):
        raise ValueError(f"{spec.name} lives in scene {spec.scene_name}, not in {cpu_env.fullpath}")
    goal, object_init = cpu_env._target_pos, cpu_env.obj_init_pos
    if goal is None or object_init is None or cpu_env._last_rand_vec is None:
        raise ValueError("the reference environment has not been reset")

    prop = spec.scene_spec.prop
    skeleton = read_skeleton(cpu_env.data, map_bodies(cpu_env.model, prop))
    points = points_init(cpu_env, spec)
    words, key_impl = as_words(jax.random.key(0))
    drawn = env.draw_parameters(jax.random.key(0), jnp.int32(task))
    if drawn is not None:
        drawn = neutral(drawn, env.nominal(jnp.int32(task)))
    physics = PhysicsState(
        qpos=_floats(skeleton.qpos),
        qvel=_floats(skeleton.qvel),
        mocap_pos=_floats(cpu_env.data.mocap_pos[0]),
        prop_pos=_floats(np.zeros(3) if prop is None else cpu_env.model.body(prop).pos),
        qacc_warmstart=_floats(skeleton.qacc_warmstart),
    )
    episode = Episode(
        next_key=words,
        rand_vec=_floats(_pad_rows(cpu_env._last_rand_vec, env.rand_vec_size)),
        goal=_floats(goal),
        object_init=_floats(object_init),
        points_init=_floats(_pad_rows(points, num_padded_points(env.tasks))),
        tcp_init=_floats(cpu_env.init_tcp),
        first_distance=_floats(first_distance(cpu_env)),
        previous_frame=_floats(cpu_env._prev_obs),
        step=jnp.asarray(cpu_env.curr_path_length, jnp.int32),
        invalid_action=jnp.zeros((), bool),
        key_impl=key_impl,
    )
    obs = _observation(env, task, cpu_env, drawn)
    state = first_state(physics, obs, jnp.asarray(task, jnp.int32), episode, jnp.ones((), bool), drawn)
    return env.draw(state.replace(truncated=jnp.asarray(cpu_env.curr_path_length >= env.max_episode_steps)))


def reward_inputs_from_metaworld(
    cpu_env: SawyerXYZEnv, spec: TaskSpec, obs: np.ndarray, action: np.ndarray
) -> RewardInputs:
    """Quantities that the reference's `evaluate_state(obs, action)` reads, now (numpy leaves, float64).

    Args:
        cpu_env: a live metaworld environment that runs the task.
        spec: the task.
        obs: (39,) the observation that its step returned.
        action: (4,) the action that its step was given.
    """
    return RewardInputs(
        obs=np.array(obs),
        action=np.array(action, float),
        tcp=cpu_env.tcp_center.copy(),
        left_tip=cpu_env._get_site_pos("leftEndEffector"),
        left_pad=cpu_env.get_body_com("leftpad").copy(),
        right_pad=cpu_env.get_body_com("rightpad").copy(),
        points=np.array([read_point(cpu_env.data, point) for point in spec.points]).reshape(-1, 3),
        part_qpos=read_skeleton(cpu_env.data, map_bodies(cpu_env.model, spec.scene_spec.prop)).qpos[PART_QPOS],
        touching=np.array(spec.main_geom is not None and cpu_env.touching_main_object),
        goal=np.array(cpu_env._target_pos),
        object_init=np.array(cpu_env.obj_init_pos),
        tcp_init=cpu_env.init_tcp.copy(),
        points_init=points_init(cpu_env, spec),
        first_distance=first_distance(cpu_env),
    )


def points_init(cpu_env: SawyerXYZEnv, spec: TaskSpec) -> np.ndarray:
    """`(points, 3)` the task's points as a reference environment remembers them from reset."""
    points = np.array([read_point(cpu_env.data, point) for point in spec.points]).reshape(-1, 3)
    for row, attribute in REMEMBERED_POINTS.get(spec.name, {}).items():
        points[row] = getattr(cpu_env, attribute)
    for row, attribute in REMEMBERED_HEIGHTS.get(spec.name, {}).items():
        points[row, 2] = getattr(cpu_env, attribute, points[row, 2])  # assembly keeps it with reward v1 only
    return points


def first_distance(cpu_env: SawyerXYZEnv) -> np.ndarray:
    """`()` the distance that bin-picking remembers from an episode's first step; `NO_DISTANCE` where it does not."""
    known = getattr(cpu_env, "_target_to_obj_init", None)
    return np.asarray(NO_DISTANCE if known is None else known)


def _observation(env: MetaWorldEnv, task: int, cpu_env: SawyerXYZEnv, drawn: Randomised | None) -> jax.Array:
    """Last observation of the reference, with the goal shown or hidden and all appended that `env` appends."""
    spec = env.tasks[task]
    assert cpu_env._target_pos is not None
    if cpu_env.curr_path_length == 0:  # a first observation is not clipped, and its history is itself
        frames, goal = np.tile(cpu_env._prev_obs, 2), cpu_env._target_pos
    else:
        assert cpu_env._last_stable_obs is not None
        frames, goal = cpu_env._last_stable_obs[FRAMES], np.clip(cpu_env._target_pos, spec.goal_low, spec.goal_high)
    obs = _floats(np.concatenate([frames, goal if env.goal_observable else np.zeros(3)]))
    shown = parameters(drawn) if env.privileged and drawn is not None else None
    return env.appended.to(obs, shown, jnp.int32(task))


def _floats(x: np.ndarray) -> jax.Array:
    """A copy in JAX's default float: float32, or float64 where that is enabled."""
    return jnp.array(x, float)


def _pad_rows(x: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]))])
