"""Batches of environments: at given goals, restarting by themselves, rolled out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.env.restart import advance, restart, step_and_restart
from mjx_metaworld.inputs.checks import check_goal_shape, known_task
from mjx_metaworld.inputs.keys import PRNGKey, as_typed
from mjx_metaworld.physics.checks import check_boolean, check_integer, check_offers
from mjx_metaworld.physics.copies import EqualCopies, shared_method
from mjx_metaworld.processes.exports import tells_identity
from mjx_metaworld.processes.forks import check_threads
from mjx_metaworld.suites import goal_batch
from mjx_metaworld.types import State, Transition

Device: TypeAlias = jax.Device  # pyright: ignore[reportInvalidTypeForm] (jaxlib has no stubs)
Out = TypeVar("Out")
Tree = TypeVar("Tree")
LANE_AXIS = "lanes"  # the mesh axis over which the lanes are divided


@tells_identity
class VectorEnv(EqualCopies):
    """`num_envs` copies of an environment, stepped together, each restarted when its episode ends.

    Args:
        env: what to batch.
        num_envs: number of lanes, at least 1.
        resample_task: draw a lane's task anew at every reset, uniformly among `env.tasks`. With False lane i keeps
            task i modulo the number of tasks, which gives every task the same share of the batch.
        devices: divide the lanes among these, in order, each device the same number; typically `jax.devices()`. They
            exchange nothing. None leaves the placement to JAX: one device, unless the inputs say otherwise.

    Attributes:
        sharding: how the leading axis of states, actions and transitions lies on the devices; None without `devices`.

    Raises:
        ValueError: if `num_envs` is not a positive integer or not a multiple of the number of devices, if a device is
            named twice or none is, or if `resample_task` is no boolean.
        TypeError: if `env` is no environment, or `devices` are none.
    """

    _options = ("env", "num_envs", "resample_task", "sharding")

    def __init__(
        self,
        env: MetaWorldEnv,
        num_envs: int,
        *,
        resample_task: bool = True,
        devices: Sequence[Device] | None = None,
    ) -> None:
        check_environment(env)
        num_envs = check_integer("num_envs", num_envs)
        self.env = env
        self.num_envs = num_envs
        self.resample_task = check_boolean("resample_task", resample_task)
        self.sharding = None if devices is None else _lane_sharding(num_envs, devices)

    def __repr__(self) -> str:
        devices = 1 if self.sharding is None else self.sharding.mesh.size
        return f"VectorEnv({self.env!r}, {self.num_envs}, resample_task={self.resample_task}, devices={devices})"

    def identity(self) -> str | None:
        """Name of this batch that is the same in all processes; None where it has none."""
        told = self.env.identity()
        if told is None or self.sharding or self.added():
            return None
        return f"{self.num_envs}, {self.resample_task}, {told}"

    @shared_method
    def reset(self, key: PRNGKey) -> State:
        """Fresh episodes in all lanes; every leaf of the state has a leading axis of `num_envs`.

        Raises:
            TypeError: if `key` is no key.
        """
        check_threads("VectorEnv.reset")
        as_typed(key)  # raises where it is none
        keys = jax.random.split(key, self.num_envs)
        if self.resample_task:
            return self._on_devices(jax.vmap(self.env.reset), keys)
        return self._on_devices(jax.vmap(self.env.reset), keys, jnp.arange(self.num_envs) % len(self.env.tasks))

    @shared_method
    def step(self, state: State, action: Float[Array, "envs 4"]) -> tuple[State, Transition]:
        """One control step of every lane, then a new episode in the lanes whose episode ended.

        Returns:
            The state to go on from (already the new episode's where one ended) and the transition just made, whose
            `next_obs` is the successor within the old episode. With `pixels` a lane is drawn once, after its restart.

        Raises:
            ValueError: if `state` or `action` has another number of lanes than this batch.
        """
        check_threads("VectorEnv.step")
        action = jnp.asarray(action)
        step = functools.partial(step_and_restart, self.env, resample_task=self.resample_task)
        return self._on_devices(jax.vmap(step), state, action, self._lane_numbers(state, action=action))

    @shared_method
    def advance(self, state: State, action: Float[Array, "envs 4"]) -> tuple[State, Transition]:
        """One control step of every lane, after which ended episodes stay where they are, for `restart` to follow.

        `step` is this and a restart of the lanes whose episode ended. A loop that ends episodes by conditions of its
        own, too, restarts the lanes of both kinds at once: a second restart would be compiled again.

        Returns:
            The state, not drawn where there are `pixels` (a restart draws it), and the transition just made.

        Raises:
            ValueError: if `state` or `action` has another number of lanes than this batch.
        """
        check_threads("VectorEnv.advance")
        action = jnp.asarray(action)
        self._lane_numbers(state, action=action)
        return self._on_devices(jax.vmap(functools.partial(advance, self.env)), state, action)

    @shared_method
    def restart(self, state: State, done: Bool[Array, "envs"]) -> State:
        """New episodes in the lanes that are done, the others as they are; with `pixels` all lanes are drawn.

        Raises:
            ValueError: if `state` or `done` has another number of lanes than this batch.
            TypeError: if `done` holds other than booleans.
        """
        check_threads("VectorEnv.restart")
        done = jnp.asarray(done)
        each = functools.partial(restart, self.env, resample_task=self.resample_task)
        return self._on_devices(jax.vmap(each), state, done, self._lane_numbers(state, done=done))

    def __getstate__(self) -> dict[str, Any]:
        """Attributes for `pickle`, which knows no devices: they go by their numbers."""
        mesh: Any = None if self.sharding is None else self.sharding.mesh
        return vars(self) | {"sharding": None if mesh is None else [device.id for device in mesh.devices.flat]}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """Attributes from `pickle`, on the devices of this process that have the same numbers."""
        vars(self).update(attributes)
        if self.sharding is not None:
            here = {device.id: device for device in jax.devices()}
            missing = [number for number in attributes["sharding"] if number not in here]
            if missing:
                raise ValueError(f"the lanes lie on devices {missing}, which are not here: there are {list(here)}")
            self.sharding = _lane_sharding(self.num_envs, [here[number] for number in attributes["sharding"]])

    def _lane_numbers(self, state: State, **arrays: Array) -> Array:
        """Numbers of the lanes; of as many as the state has, where `jax.export` leaves their number open.

        Raises:
            ValueError: if the state or one of the arrays, by their names, has another number of lanes.
        """
        for name, array in ({"state.task": state.task} | arrays).items():
            shape = jnp.shape(array)
            rows = len(shape) == 2 if name == "action" else len(shape) == 1
            if not rows or (isinstance(shape[0], int) and shape[0] != self.num_envs):
                raise ValueError(f"{name} must have a row for each of the {self.num_envs} lanes, got shape {shape}")
        lanes = jnp.shape(state.task)[0]
        return jnp.arange(self.num_envs if isinstance(lanes, int) else lanes)

    def _on_devices(self, fn: Callable[..., Out], *args: Any) -> Out:
        """`fn(*args)`, where every leaf has a leading axis of lanes and each device computes its own part of it.

        Left to itself, the partitioner would spread the sorting of a batch by cost and its loop over chunks over all
        devices; so each has its own, as if its lanes were the whole batch.
        """
        if self.sharding is None:
            return fn(*args)
        lanes = self.sharding.spec
        return jax.shard_map(fn, mesh=self.sharding.mesh, in_specs=lanes, out_specs=lanes)(*args)


def select_envs(mask: Bool[Array, "*envs"], new: Tree, old: Tree) -> Tree:
    """`new` in the environments where the mask is set, `old` in the others.

    Args:
        mask: one entry an environment.
        new: arrays whose leading axes are the mask's.
        old: the same.
    """

    def select(new: Array, old: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (new.ndim - mask.ndim)), new, old)

    return jax.tree.map(select, new, old)


def reset_to_goals(env: MetaWorldEnv, rand_vecs: Sequence[np.ndarray], tasks: Sequence[int] | None = None) -> State:
    """First states of episodes with given goals, task by task; compiled once for an environment and a number of goals.

    Args:
        env: the environment.
        rand_vecs: (n, rand) goal vectors of each task, as `mw.goals` gives them; n may differ from task to task.
        tasks: index into `env.tasks` of each entry of `rand_vecs`; by default 0, 1, 2, ...

    Returns:
        States with one leading axis, of all goals.

    Raises:
        ValueError: for goals of more tasks than there are, of tasks that there are not, or of another length or shape
            than the task's, and for goals that are not finite.
        TypeError: if an index is no integer.
    """
    check_threads("reset_to_goals")
    task, rand_vec = goal_batch(rand_vecs, env.rand_vec_size, tasks)
    _check_goals(env, rand_vecs, tasks)
    return _compiled_reset_to(env)(jnp.asarray(task), jnp.asarray(rand_vec, float))


def _check_goals(env: MetaWorldEnv, rand_vecs: Sequence[np.ndarray], tasks: Sequence[int] | None) -> None:
    """Refuse goals that are not of the environment's tasks, entry by entry."""
    count = len(env.tasks)
    if tasks is None and len(rand_vecs) > count:
        names = ", ".join(spec.name for spec in env.tasks)
        raise ValueError(f"rand_vecs must hold goals of at most {count} tasks ({names}), got {len(rand_vecs)} entries")
    for row, (task, vectors) in enumerate(zip(range(count) if tasks is None else tasks, rand_vecs, strict=False)):
        spec = env.tasks[known_task(task, count) or 0]  # None of a traced one, which does not come this far
        name = f"a goal vector of {spec.name} (entry {row})"
        check_goal_shape(name, np.shape(vectors)[1:], env.rand_vec_size, len(spec.rand_low))


@functools.lru_cache(maxsize=4)
def _compiled_reset_to(env: MetaWorldEnv) -> Callable[[Array, Array], State]:
    return jit(jax.vmap(env.reset_to))


def _lane_sharding(num_envs: int, devices: Sequence[Device]) -> NamedSharding:
    if isinstance(devices, str):
        raise TypeError(f"devices must be some of jax.devices(), got {devices!r}")
    if not devices or len(set(devices)) != len(devices):
        raise ValueError(f"devices must name at least one device, and none twice, got {list(devices)}")
    if num_envs % len(devices):
        processes = jax.process_count()
        count = f"{len(devices)} of {processes} processes" if processes > 1 else f"{len(devices)}"
        raise ValueError(f"num_envs must be a multiple of the number of devices, {count}, got {num_envs}")
    return NamedSharding(Mesh(np.asarray(devices), (LANE_AXIS,)), PartitionSpec(LANE_AXIS))


def check_environment(env: MetaWorldEnv) -> None:
    """Refuse what is no environment, such as a name or a batch.

    Raises:
        TypeError: if it is none.
    """
    check_offers("env", env, "an environment, as mw.make makes one", "reset", "step", "tasks")


def check_batch(vector_env: VectorEnv) -> None:
    """Refuse what is no batch, such as a single environment.

    Raises:
        TypeError: if it is none.
    """
    check_offers("vector_env", vector_env, "a batch, as mw.VectorEnv(env, num_envs) makes one", "num_envs", "step")


class Rollout(NamedTuple):
    """Result of a rollout whose policy carries something."""

    state: State  # the last
    transitions: Transition  # leading axes (steps, envs)
    carry: Any  # the policy's last
    extras: Any  # what the policy gave beside its actions, with a leading axis of steps


_OF_A_CARRIER = 3  # results: action, carry, extras
_NOTHING: Any = object()  # where no carry is given, which may be None


@overload
def rollout(
    vector_env: VectorEnv,
    policy: Callable[..., Float[Array, "envs 4"]],
    key: PRNGKey,
    num_steps: int,
    state: State | None = None,
    *,
    sees: bool = False,
) -> tuple[State, Transition]: ...


@overload
def rollout(
    vector_env: VectorEnv,
    policy: Callable[[State, Any, Array], tuple[Float[Array, "envs 4"], Any, Any]],
    key: PRNGKey,
    num_steps: int,
    state: State | None = None,
    *,
    carry: Any,
) -> Rollout: ...


def rollout(
    vector_env: VectorEnv,
    policy: Callable[..., Any],
    key: PRNGKey,
    num_steps: int,
    state: State | None = None,
    *,
    sees: bool = False,
    carry: Any = _NOTHING,
) -> tuple[State, Transition] | Rollout:
    """Run a policy for `num_steps` control steps in one `lax.scan`.

    Args:
        vector_env: the environments.
        policy: `(obs (envs, obs), key) -> action (envs, 4)`; with `sees` `(obs, pixels, key)`; with `carry`
            `(state, carry, key) -> (action, carry, extras)`.
        key: draws the first episodes (unless `state` is given) and the policy's randomness.
        num_steps: length of the scan.
        state: where to start; by default fresh episodes.
        sees: give the policy the pictures, too, of an environment with `pixels`.
        carry: the policy's own at the start, any pytree such as a recurrent network's memory or `None`; the policy is
            then given whole states: their observations, tasks, pictures, and `episode.step`, which is 0 where an
            episode begins.

    Returns:
        The last state, and all transitions with leading axes (num_steps, envs); with `pixels` they hold the pictures.
        With `carry` a `Rollout` of both, the policy's last carry, and its extras with a leading axis of steps.

    Raises:
        ValueError: if the policy is to see and the environment has no `pixels`, or if `num_steps` is no integer >= 0.
        TypeError: if `key` is no key, `vector_env` no batch, or what the policy gives not as said above.
    """
    check_threads("mw.rollout")
    check_batch(vector_env)
    as_typed(key)  # raises where it is none
    num_steps = check_integer("num_steps", num_steps, 0)
    if sees and vector_env.env.pixels is None:
        raise ValueError("a policy sees an environment that was made with pixels: mw.make(..., pixels=mw.Pixels())")
    reset_key, policy_key = jax.random.split(key)
    if state is None:
        state = vector_env.reset(reset_key)
    elif vector_env.env.pixels is not None and state.pixels is None:
        state = jax.vmap(vector_env.env.draw)(state)
    step_keys = jax.random.split(policy_key, num_steps)
    if carry is not _NOTHING:
        return _rollout_carrying(vector_env, policy, step_keys, state, carry)

    def body(state, step_key):
        seen = (state.obs, state.pixels) if sees else (state.obs,)
        action = policy(*seen, step_key)
        if isinstance(action, tuple):
            raise TypeError(f"a policy without carry gives an action alone, got a tuple of {len(action)}")
        return vector_env.step(state, action)

    return jax.lax.scan(body, state, step_keys)


def _rollout_carrying(vector_env: VectorEnv, policy: Callable[..., Any], keys: Array, state: State, carry: Any) -> Any:
    def body(now: tuple[State, Any], step_key: Array) -> tuple[tuple[State, Any], tuple[Transition, Any]]:
        given = policy(*now, step_key)
        several = isinstance(given, tuple | list)
        if not several or len(given) != _OF_A_CARRIER:
            got = f"a {type(given).__name__}{f' of {len(given)}' if several else ''}"
            raise TypeError(f"a policy with carry gives (action, carry, extras), got {got}")
        action, carry, extras = given
        state, transition = vector_env.step(now[0], action)
        return (state, carry), (transition, extras)

    (state, carry), (transitions, extras) = jax.lax.scan(body, (state, carry), keys)
    return Rollout(state, transitions, carry, extras)
