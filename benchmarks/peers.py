"""The systems that `benchmarks.compare` runs side by side, each in a process of its own.

A process gets its `Job` as JSON in its only argument and prints its `Figure` as JSON in its last line:

    python -m benchmarks.peers '{"peer": "envpool", "tasks": ["reach-v3"], "num_envs": 8}'

All get the same tasks in the same lanes, and the same random actions or those of metaworld's scripted experts, which
grasp what random actions hardly ever touch. An environment step is one control step. Setting up, compiling, first steps
and the experts' thinking are not counted.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mjx_metaworld.build.machine import versions
from mjx_metaworld.processes.programs import compiling_anew

_STEPS_PER_CALL = 10  # control steps in one jitted call
# Steps after which the actions repeat: an episode's. Not imported, since the peers' processes do without JAX.
_ACTION_STEPS = 500


@dataclass(frozen=True)
class Job:
    """Measurement that one process makes."""

    peer: str  # a key of PEERS
    tasks: tuple[str, ...]  # lane i runs task i modulo their number
    num_envs: int
    seconds: float = 5.0  # step at least this long
    actions: Literal["random", "experts"] = "random"
    seed: int = 0
    devices: int | None = None  # of ours; None: what suits the batch


@dataclass(frozen=True)
class Figure:
    """Result of a measurement."""

    env_steps_per_second: float
    setup_s: float  # until the first step is done, compilation included
    versions: dict[str, str]
    by_task: dict[str, float] = field(default_factory=dict)  # where tasks ran one by one: env steps/s of each
    note: str = ""


def random_actions(job: Job) -> np.ndarray:
    """(500, num_envs, 4) float32, uniform in [-1, 1]."""
    actions = np.random.default_rng(job.seed).uniform(-1.0, 1.0, (_ACTION_STEPS, job.num_envs, 4))
    return actions.astype(np.float32)


def actions_of(job: Job) -> Callable[[np.ndarray], np.ndarray]:
    """Function from observations (num_envs, 39) to actions (num_envs, 4), float32."""
    if job.actions == "random":
        endless = itertools.cycle(random_actions(job))
        return lambda obs: next(endless)
    import metaworld.policies

    classes = [metaworld.policies.ENV_POLICY_MAP[task] for task in job.tasks]
    experts = [classes[i % len(classes)]() for i in range(job.num_envs)]

    def act(obs: np.ndarray) -> np.ndarray:
        wanted = [expert.get_action(row) for expert, row in zip(experts, obs, strict=True)]
        return np.clip(wanted, -1.0, 1.0).astype(np.float32)

    return act


def rate_of(
    step: Callable[[Any], Any], obs: Any, act: Callable[[Any], Any], seconds: float, steps_per_call: int = 1
) -> float:
    """Environment steps per second of `step`, from actions to observations of all lanes; `act` is not counted."""
    count, spent = 0, 0.0
    while spent < seconds:
        action = act(obs)
        start = time.perf_counter()
        obs = step(action)
        spent += time.perf_counter() - start
        count += steps_per_call * len(obs)
    return count / spent


def run_ours(job: Job) -> Figure:
    """`VectorEnv` in one process, its lanes divided among the devices."""
    import jax

    import mjx_metaworld as mw
    from mjx_metaworld.cli.benchmark import claim_devices, default_devices

    start = time.perf_counter()
    devices = claim_devices(job.devices or default_devices(job.num_envs))
    vector_env = mw.VectorEnv(
        mw.make(job.tasks), job.num_envs, resample_task=False, devices=devices if len(devices) > 1 else None
    )

    def advance(state, actions):
        state, transition = jax.lax.scan(vector_env.step, state, actions)
        return state, (transition.next_obs, transition.reward, transition.truncated)

    state = mw.jit(vector_env.reset)(jax.random.key(job.seed))
    note = f"{len(devices)} device(s), {devices[0].device_kind}"
    figure = functools.partial(Figure, versions=versions("mjx-metaworld", "jax", "jaxlib"), note=note)
    if job.actions == "experts":
        act = mw.jit(jax.vmap(mw.expert(vector_env.env)))
        with compiling_anew():
            compiled = mw.jit(vector_env.step).lower(state, act(state.obs, state.task)).compile()

        def step(action):
            nonlocal state
            state, _ = jax.block_until_ready(compiled(state, action))
            return state.obs

        def think(obs):
            return jax.block_until_ready(jax.numpy.clip(act(obs, state.task), -1.0, 1.0))

        step(think(state.obs))
        setup_s = time.perf_counter() - start
        return figure(rate_of(step, state.obs, think, job.seconds), setup_s)

    actions = random_actions(job).reshape(-1, _STEPS_PER_CALL, job.num_envs, 4)
    with compiling_anew():
        compiled = mw.jit(advance).lower(state, actions[0]).compile()
    state, _ = jax.block_until_ready(compiled(state, actions[0]))
    setup_s = time.perf_counter() - start
    blocks = itertools.cycle(actions)

    def steps(block):
        nonlocal state
        state, _ = jax.block_until_ready(compiled(state, block))
        return state.obs

    return figure(rate_of(steps, state.obs, lambda _: next(blocks), job.seconds, _STEPS_PER_CALL), setup_s)


def run_metaworld_loop(job: Job) -> Figure:
    """One environment of `metaworld` at a time, stepped in a plain loop; the mean rate of the tasks.

    A reset costs the reference 100 control steps. It happens between the timed steps and is not counted.
    """
    seconds, setup_s, by_task = job.seconds / len(job.tasks), 0.0, {}
    for task in job.tasks:
        start = time.perf_counter()
        env = _metaworld_env(task, job.seed)
        act = actions_of(dataclasses.replace(job, tasks=(task,), num_envs=1))
        obs, _ = env.reset()
        obs = env.step(act(obs[None])[0])[0]
        setup_s += time.perf_counter() - start
        count, spent = 0, 0.0
        while spent < seconds:
            (action,) = act(obs[None])
            start = time.perf_counter()
            obs, *_, truncated, _ = env.step(action)
            spent += time.perf_counter() - start
            count += 1
            if truncated:
                obs, _ = env.reset()
        by_task[task] = round(count / spent, 1)
    mean = float(np.mean(list(by_task.values())))
    return Figure(mean, setup_s, versions("metaworld", "mujoco"), by_task)


def run_gymnasium(job: Job, vectorizer: str) -> Figure:
    """`metaworld` in one of gymnasium's vector environments, with its automatic resets."""
    import gymnasium

    start = time.perf_counter()
    makers = [
        functools.partial(_metaworld_env, job.tasks[i % len(job.tasks)], job.seed + i) for i in range(job.num_envs)
    ]
    env = getattr(gymnasium.vector, vectorizer)(makers)
    obs, _ = env.reset(seed=job.seed)
    act = actions_of(job)
    obs = env.step(act(obs))[0]
    setup_s = time.perf_counter() - start
    rate = rate_of(lambda action: env.step(action)[0], obs, act, job.seconds)
    env.close()
    return Figure(rate, setup_s, versions("metaworld", "mujoco", "gymnasium"))


def run_envpool(job: Job) -> Figure:
    """EnvPool's C++ port: a pool a task, since a pool runs one task; a thread each, all stepped at once."""
    try:
        import envpool  # pyright: ignore[reportMissingImports]  # from the extra `compare`, which the tests do without
    except ImportError as error:
        raise ImportError("envpool is missing: pip install 'mjx-metaworld[compare]'") from error

    start = time.perf_counter()
    lanes = [slice(i, None, len(job.tasks)) for i in range(min(len(job.tasks), job.num_envs))]
    pools, obs, before = [], np.zeros((job.num_envs, 39)), resident_bytes()
    for number, (task, lane) in enumerate(zip(job.tasks, lanes, strict=False), 1):
        pool = envpool.make(
            f"MetaWorld/{''.join(part.capitalize() for part in task.removesuffix('-v3').split('-'))}-v3",
            env_type="gymnasium",
            num_envs=len(range(job.num_envs)[lane]),
            num_threads=1,
            seed=job.seed,
            partially_observable=False,  # or nobody would know the goals
        )
        obs[lane] = pool.reset()[0]
        pools.append(pool)
        check_memory((resident_bytes() - before) / number * (len(lanes) - number))

    def step(action: np.ndarray) -> np.ndarray:
        wide = action.astype(np.float64)
        for pool, lane in zip(pools, lanes, strict=True):
            pool.send(wide[lane])
        for pool, lane in zip(pools, lanes, strict=True):
            obs[lane] = pool.recv()[0]
        return obs

    act = actions_of(job)
    obs = step(act(obs))
    setup_s = time.perf_counter() - start
    return Figure(rate_of(step, obs, act, job.seconds), setup_s, versions("envpool"))


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * resource.getpagesize() if status.exists() else 0


def check_memory(needed: float) -> None:
    """Refuse what would use up the machine's memory, where the system tells how much is left.

    Raises:
        MemoryError: if more than nine tenths of what is available would be used.
    """
    table = Path("/proc/meminfo")
    if not table.exists():
        return
    (line,) = (line for line in table.read_text().splitlines() if line.startswith("MemAvailable:"))
    available = int(line.split()[1]) * 1024
    if needed > 0.9 * available:
        raise MemoryError(f"it would need {needed / 1e9:.1f} GB more, and {available / 1e9:.1f} GB are available")


def run_raw_mjx(job: Job) -> Figure:
    """`mjx.step` on the first task's original scene: no observations, no rewards, no resets."""
    import jax
    import mujoco
    from mujoco import mjx

    start = time.perf_counter()
    env = _metaworld_env(job.tasks[0], job.seed)
    path, note = env.model_name, ""
    try:
        model = mjx.put_model(mujoco.MjModel.from_xml_path(path))
    except NotImplementedError as error:
        note = f"cylinders swapped for boxes, since {type(error).__name__}: {error}"
        model = mjx.put_model(_with_boxes(path))
    qpos, mocap_pos, frame_skip = env.data.qpos, env.data.mocap_pos, env.frame_skip
    template = mjx.make_data(model).replace(qpos=jax.numpy.asarray(qpos), mocap_pos=jax.numpy.asarray(mocap_pos))

    def control_step(data, action):
        mocap = data.mocap_pos + 0.01 * action[None, :3]
        data = data.replace(mocap_pos=mocap, ctrl=jax.numpy.stack([action[3], -action[3]]))
        return jax.lax.fori_loop(0, frame_skip, lambda _, data: mjx.step(model, data), data)

    actions = random_actions(job)
    data = jax.vmap(lambda _: template)(actions[0])
    compiled = jax.jit(jax.vmap(control_step)).lower(data, actions[0]).compile()
    setup_s = time.perf_counter() - start

    def step(action):
        nonlocal data
        data = jax.block_until_ready(compiled(data, action))
        return data.qpos

    rate = rate_of(step, data.qpos, actions_of(job), job.seconds)
    return Figure(rate, setup_s, versions("mujoco-mjx", "jax", "jaxlib"), note=note)


def mjbatch_arguments(job: Job) -> tuple[str, ...]:
    """Arguments of `peer_mjbatch.py`: scene, its state after a reset, and what to do."""
    env = _metaworld_env(job.tasks[0], job.seed)
    env.reset()
    start = {"qpos": env.data.qpos.tolist(), "mocap_pos": env.data.mocap_pos.tolist(), "substeps": env.frame_skip}
    return env.model_name, json.dumps(start), str(job.num_envs), str(job.seconds), str(job.seed)


PEERS: dict[str, Callable[[Job], Figure]] = {
    "ours": run_ours,
    "metaworld": run_metaworld_loop,
    "sync": functools.partial(run_gymnasium, vectorizer="SyncVectorEnv"),
    "async": functools.partial(run_gymnasium, vectorizer="AsyncVectorEnv"),
    "envpool": run_envpool,
    "mjx": run_raw_mjx,
}


def _metaworld_env(task: str, seed: int) -> Any:
    import metaworld.env_dict

    make: Any = metaworld.env_dict.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-goal-observable"]
    return make(seed=seed)


def _with_boxes(path: str) -> Any:
    """The scene with a box around every cylinder in its place."""
    import mujoco

    spec = mujoco.MjSpec.from_file(path)
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_CYLINDER:
            radius, half_height = geom.size[:2]
            geom.type, geom.size = mujoco.mjtGeom.mjGEOM_BOX, [radius, radius, half_height]
    return spec.compile()


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    job = Job(**{**arguments, "tasks": tuple(arguments["tasks"])})
    print(json.dumps(dataclasses.asdict(PEERS[job.peer](job))))
