"""A gymnasium vector environment that behaves as metaworld's own, with all lanes in one compiled step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mjx_metaworld.adapters.compiled import programs
from mjx_metaworld.adapters.gymnasium.infos import EpisodeStatistics, Infos, final_infos, finite_infos, metric_infos
from mjx_metaworld.adapters.gymnasium.normalization import (
    LaneStatistics,
    ObservationNormalizer,
    ReturnScaling,
    RewardNormalization,
    reward_normalizer,
)
from mjx_metaworld.adapters.gymnasium.observations import ObservationMaker, one_hot_vectors, one_id
from mjx_metaworld.adapters.gymnasium.pictures import RENDER_MODES, Pictures
from mjx_metaworld.adapters.gymnasium.sight import Sight, as_pixels
from mjx_metaworld.adapters.gymnasium.starts import Starts
from mjx_metaworld.adapters.gymnasium.sub_env import SubEnv, check_seed, check_switch, load_checkpoints
from mjx_metaworld.env import ACTION_SIZE
from mjx_metaworld.inputs.checks import check_physics
from mjx_metaworld.physics.backend import Backend, execution_of
from mjx_metaworld.physics.checks import as_integer, check_boolean, check_integer, check_offers
from mjx_metaworld.physics.config import EngineConfig, Execution, PhysicsConfig
from mjx_metaworld.processes.forks import check_threads, without_threads
from mjx_metaworld.randomise.drawing import Term, parameters
from mjx_metaworld.randomise.naming import terms_of
from mjx_metaworld.rendering.pixels import Pixels
from mjx_metaworld.tasks import TaskSpec
from mjx_metaworld.tasks.spec import RewardVersion
from mjx_metaworld.types import CONTROL_RATE, EPISODE_STEPS, Metrics

_STATISTICS = {  # names of gymnasium's statistics, and what makes the environment keep them
    "obs_rms": "normalize_observations",
    "return_rms": "reward_normalization_method='gymnasium'",
}


class MetaWorldVectorEnv(VectorEnv[Any, np.ndarray, np.ndarray]):
    """Vector environment that stands in for `gym.make_vec("Meta-World/MT10", ...)`, computed here.

    Spaces, dtypes, infos, episode statistics, frozen goals and the order in which they are drawn are metaworld's; but
    the observation space shows the goals' true bounds where metaworld's says zero, and a seed given to `reset`
    restarts the choice of goals, where metaworld ignores it. A lane whose action, or what came of it, holds NaN or
    infinity has `finite` False in the infos of that step; it is terminated in the latter case.

    Args:
        tasks: the tasks, whose order is that of the one-hot ids.
        lanes: the sub-environments, see `deal_tasks` and `deal_goals`; the environment owns them from now on.
        goal_observable: whether observations end in the goal or in zeros.
        use_one_hot: append the task's one-hot vector to observations, which makes them float32 instead of float64.
        num_tasks: length of that vector, at least the number of tasks, which is the default.
        env_id: place of the one in the vectors of all lanes, for a batch of one task that is one of several elsewhere.
        recurrent_info_in_obs: append the last action, a tenth of its reward and whether the episode ended with it, for
            recurrent policies; float32.
        normalize_reward_in_recurrent_info: whether it is a tenth.
        reward_normalization_method: "gymnasium" for rewards over the deviation of each lane's discounted return,
            "exponential" for rewards over their own exponentially averaged deviation; episode statistics add these up.
        reward_alpha: the weight of a new reward in that average.
        normalize_observations: observations with mean zero and variance one in each lane so far, float32.
        terminate_on_success: end an episode at the first success; metaworld's evaluation toggles it.
        reward_function_version: "v1" or "v2".
        max_episode_steps: control steps until truncation; None for 500.
        autoreset_mode: when an ended lane starts again: "SameStep" (then `final_obs` and `final_info` hold the ends of
            episodes), "NextStep", or "Disabled" (reset with `options={"reset_mask": mask}`).
        render_mode: "rgb_array", "depth_array" (OpenGL's depth buffer, as gymnasium has it) or None.
        camera_name: from which `render` draws, one of `mjx_metaworld.rendering.render.list_cameras()`.
        camera_id: the camera by its number instead; by default MuJoCo's free camera, as gymnasium has it.
        width: of pictures, in pixels.
        height: of pictures, in pixels.
        pixels: cameras whose pictures are observed, a `mw.Pixels` or a dict of its arguments. Observations are then a
            dict of "state", which is what they are without, and "pixels", uint8 (height, width, 3); with depth or
            segmentation also of "depth" and "segmentation". A lane is drawn once a step, and under "SameStep" where an
            episode ends twice: its last picture, in `final_obs`, and the first of the next episode.
        randomise: what every episode draws, terms as for `make` or their texts, such as "friction=0.5,1.5". Goals are
            those without it. `call("parameters")` tells what the lanes have drawn.
        physics: accuracy of the engine, as for `make`.
        backend: how batches are laid out, as for `make`.

    Attributes:
        statistics: of every lane's episode in progress; infos have those of ended ones.

    Raises:
        ValueError: for an unknown autoreset mode, render mode, camera, reward version or normalisation, a bad episode
            length or picture size, the text of no term, a boolean option that is none, a one-hot id beyond
            `num_tasks`, or one `env_id` for several tasks.
        TypeError: for `pixels` or `physics` of another kind, or a term that is no function.
        ImportError, RuntimeError: if `pixels` cannot be drawn here, see `mw.camera`.
        ForkError: from its methods, in a process that was forked after JAX had begun to work.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        lanes: Sequence[SubEnv],
        *,
        goal_observable: bool = True,
        use_one_hot: bool = False,
        num_tasks: int | None = None,
        env_id: int | None = None,
        recurrent_info_in_obs: bool = False,
        normalize_reward_in_recurrent_info: bool = True,
        reward_normalization_method: RewardNormalization | None = None,
        reward_alpha: float = 0.001,
        normalize_observations: bool = False,
        terminate_on_success: bool = False,
        reward_function_version: RewardVersion = "v2",
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
        camera_name: str | None = None,
        camera_id: int | None = None,
        width: int = 480,
        height: int = 480,
        pixels: Pixels | Mapping[str, Any] | None = None,
        randomise: str | Term | Sequence[str | Term] | None = None,
        physics: PhysicsConfig | None = None,
        backend: Backend | Execution = "auto",
    ) -> None:
        goal_observable = check_boolean("goal_observable", goal_observable)
        self._pictures = Pictures(render_mode, camera_name, camera_id, width, height)
        self._autoreset = _autoreset_mode(autoreset_mode)
        self._max_episode_steps = check_integer(
            "max_episode_steps", EPISODE_STEPS if max_episode_steps is None else max_episode_steps
        )
        terms = None if randomise is None else terms_of(randomise)
        config = EngineConfig(check_physics(physics), execution_of(backend))
        self._lanes = list(lanes)
        self.num_envs = len(self._lanes)
        names = [spec.name for spec in tasks]
        self._task = np.array([names.index(lane.spec.name) for lane in self._lanes], np.int32)
        for lane in self._lanes:
            lane.toggle_terminate_on_success(terminate_on_success)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": CONTROL_RATE,
            "autoreset_mode": self._autoreset,
        }
        self.render_mode = render_mode

        self._rewards = reward_normalizer(reward_normalization_method, self.num_envs, reward_alpha)
        pairs = zip(self._lanes, self._task, strict=True)
        ids = np.array([task if lane.one_hot_id is None else lane.one_hot_id for lane, task in pairs])
        ids = ids if env_id is None else one_id(ids, env_id)
        one_hot = np.zeros((self.num_envs, 0))
        if check_boolean("use_one_hot", use_one_hot):
            one_hot = one_hot_vectors(ids, len(names), num_tasks)
        self._observations = ObservationMaker(
            tasks,
            one_hot,
            goal_observable=goal_observable,
            recurrent=check_boolean("recurrent_info_in_obs", recurrent_info_in_obs),
            normalize_recurrent_reward=check_boolean(
                "normalize_reward_in_recurrent_info", normalize_reward_in_recurrent_info
            ),
            normalize=check_boolean("normalize_observations", normalize_observations),
        )
        seen, numbers = as_pixels(pixels), self._observations.space
        self._sight = None if seen is None else Sight(seen, self.num_envs, numbers)
        self.single_observation_space = numbers if self._sight is None else self._sight.space
        self.single_action_space = Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

        # gymnasium's workers hand on what reset raises, but not what raises here: there they only vanish.
        if not without_threads():
            self._programs = programs(tuple(tasks), goal_observable, reward_function_version, config, terms)
            self._starts = Starts(self._programs, self._lanes, self._task)
            self._state = self._starts.first()
        self._ready = np.zeros(self.num_envs, bool)  # lanes that are within an episode
        self.statistics = EpisodeStatistics(self.num_envs)
        # The last ones, without pictures; lanes that were never reset have none.
        self._obs = np.zeros((self.num_envs, *numbers.shape))
        self._was_reset = False

    # --- gymnasium's methods ---

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Infos]:
        """Start new episodes.

        Args:
            seed: restarts the lanes' choice of goals: one seed a lane, or an integer for `seed`, `seed + 1`, ...
            options: `{"reset_mask": mask}` resets only some lanes; other options have no meaning.

        Raises:
            ValueError: for a bad seed, or a list of seeds or a mask of the wrong length; then nothing changes.
            TypeError: for options that are no dict.
        """
        self._check_open()
        if options is not None:
            check_offers("options", options, 'a dict such as {"reset_mask": mask}, or None', "get")
        mask = self._checked_mask((options or {}).get("reset_mask"))
        seeds = self._checked_seeds(seed)  # all of them, before any lane is seeded
        super().reset(seed=as_integer(seed))
        for lane, lane_seed, chosen in zip(self._lanes, seeds, mask, strict=True):
            if chosen and lane_seed is not None:
                lane.seed(lane_seed)
        self._restart(mask)
        self._look(mask)
        self._was_reset = True
        return self._observed(), {}

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Advance all lanes by one control step, and start those again whose turn it is.

        Args:
            actions: (num_envs, 4) within [-1, 1]; clipped.

        Raises:
            ValueError: if `actions` has the wrong shape.
            ResetNeeded: for lanes that were never reset, unless "NextStep" starts them, or with autoreset disabled for
                those whose episode has ended.
        """
        self._check_open()
        if np.shape(actions) != self.action_space.shape:
            raise ValueError(f"actions must have shape {self.action_space.shape}, got {np.shape(actions)}")
        if not self._was_reset:
            raise ResetNeeded("call reset before the first step")
        waiting = ~self._ready
        if self._autoreset is not AutoresetMode.NEXT_STEP and waiting.any():
            raise ResetNeeded(f"lanes {np.flatnonzero(waiting).tolist()} are in no episode; reset these")

        self._state, output = self._programs.step(self._state, jnp.asarray(actions, jnp.float32))
        obs, reward, metrics, broken, finite = jax.device_get(output)
        running = ~waiting
        reward = np.where(running, reward, 0.0).astype(np.float64)
        switches = np.array([lane.terminate_on_success for lane in self._lanes])
        terminated = running & (broken | switches & (metrics.success == 1.0))
        truncated = running & (self.statistics.length + 1 >= self._max_episode_steps)
        ended = terminated | truncated
        told = self._told(ended)
        updated = self._updated()
        full = self._observations.next(obs, np.asarray(actions), reward, told, running, updated)
        if self._rewards is not None:
            reward = self._rewards(reward, terminated, running, updated | (self._observations.normalizer is not None))
        self.statistics.add(reward, running)
        self._ready &= ~ended

        self._obs = self._rows_of(running, full)
        everywhere = np.ones(self.num_envs, bool)
        if self._autoreset is AutoresetMode.SAME_STEP:
            self._look(everywhere)  # `final_obs` has the picture of an episode's end
            infos = self._infos(full, metrics, running, ended)
            if ended.any():
                self._restart(ended)
                self._look(ended)
        else:
            infos = self._infos(full, metrics, running, told)
            if waiting.any():
                self._restart(waiting)
            self._look(everywhere)
        return self._observed(), reward, terminated, truncated, infos | finite_infos(finite, running)

    def render(self) -> tuple[np.ndarray, ...]:
        """One picture a lane: uint8 (height, width, 3), or float32 (height, width) with "depth_array".

        Raises:
            ValueError: without a render mode.
            ResetNeeded: before the first reset.
        """
        self._check_open()
        if self.render_mode is None:
            raise ValueError('nothing to render: make the environment with render_mode="rgb_array" or "depth_array"')
        if not self._was_reset:
            raise ResetNeeded("call reset before render")
        return self._pictures.draw(self._programs.env, self._state)

    def close_extras(self, **kwargs: Any) -> None:
        """Drop the states; compiled functions stay for the process's next environment."""
        vars(self).pop("_state", None)
        vars(self).pop("_starts", None)

    # --- sub-environments by name, as metaworld's evaluation uses them ---

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every sub-environment, or read an attribute; one result a lane.

        `sample_tasks` chooses the next goals and resets; `render` draws; `obs_rms` and `return_rms` are what
        observations and rewards are normalised by, of gymnasium's type; `parameters` are what `randomise` has drawn for
        the lane's episode, as one vector; the others are those of `SubEnv`.

        Raises:
            AttributeError: if sub-environments have nothing of this name.
        """
        self._check_open()
        if name == "sample_tasks":
            for lane in self._lanes:
                lane.choose()
            everywhere = np.ones(self.num_envs, bool)
            self._restart(everywhere, choose=False)
            self._look(everywhere)
            self._was_reset = True
            return tuple((self._observed(self._obs, lane), {}) for lane in range(self.num_envs))
        if name == "render":
            return self.render()
        if name == "parameters" and self._state.randomised is not None:
            return tuple(np.asarray(jax.vmap(parameters)(self._state.randomised)))
        if name in _STATISTICS:
            return self._lane_statistics(name).of_lanes()
        if name == "load_checkpoint":
            load_checkpoints(self._lanes, *args, **kwargs)
            self._starts = Starts(self._programs, self._lanes, self._task)  # the goals may be others now
            return (None,) * self.num_envs
        return tuple(lane.invoke(name, *args, **kwargs) for lane in self._lanes)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of every sub-environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set a switch, or what lanes normalise by: one value for all lanes, or a list of one a lane.

        Names are `terminate_on_success`, `sample_tasks_on_reset`, `update_running_mean`, `obs_rms` and `return_rms`.
        As around metaworld's environments, `update_running_mean` freezes the statistics of observations if these are
        normalised, else those of rewards.

        Raises:
            ValueError: for a list of the wrong length, a switch that is neither True nor False, or statistics that hold
                what they cannot; then nothing changes.
            TypeError: for statistics of another type; then nothing changes.
            AttributeError: for another name.
        """
        self._check_open()
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"values must have one entry for each of the {self.num_envs} lanes, got {len(values)}")
        if name in _STATISTICS:
            self._lane_statistics(name).assign(name, values)
            return
        switches = [check_switch(name, value) for value in values]  # all of them, before any is set
        for lane, on in zip(self._lanes, switches, strict=True):
            setattr(lane, name, on)

    def _lane_statistics(self, name: str) -> LaneStatistics:
        owner = self._observations.normalizer if name == "obs_rms" else self._rewards
        if isinstance(owner, ObservationNormalizer | ReturnScaling):
            return owner.statistics
        raise AttributeError(f"the environment keeps no {name!r}; {_STATISTICS[name]} does")

    # --- parts ---

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the environment is closed")
        check_threads("this environment")

    def _checked_mask(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, bool)
        if np.shape(mask) != (self.num_envs,) or np.asarray(mask).dtype != bool:
            raise ValueError(f"reset_mask must be a boolean array of shape ({self.num_envs},), got {mask!r}")
        return np.array(mask)

    def _checked_seeds(self, seed: Any) -> list[int | None]:
        """Seeds one a lane, None where it stays."""
        if seed is None:
            return [None] * self.num_envs
        if as_integer(seed) is not None:
            first = check_integer("seed", seed, 0)
            return [first + i for i in range(self.num_envs)]
        if isinstance(seed, str | bytes | Mapping) or not np.iterable(seed):
            raise ValueError(f"seed must be an integer >= 0, None, or a list of these, one a lane, got {seed!r}")
        seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must have one entry for each of the {self.num_envs} lanes, got {len(seeds)}")
        return [check_seed(lane_seed) for lane_seed in seeds]

    def _restart(self, chosen: np.ndarray, *, choose: bool = True) -> None:
        """Put the chosen lanes at the start of an episode."""
        for i in np.flatnonzero(chosen) if choose else ():
            self._lanes[i].choose_for_reset()
        self._state = self._starts.restart(self._state, chosen)
        self._ready |= chosen
        self.statistics.start(chosen)
        first = self._observations.first(np.asarray(self._state.obs), chosen, self._updated())
        self._obs = self._rows_of(chosen, first)

    def _look(self, lanes: np.ndarray) -> None:
        if self._sight is not None:
            self._sight.look(self._programs.env, self._state, lanes)

    def _observed(self, numbers: np.ndarray | None = None, lane: int | None = None) -> Any:
        """Observations of all lanes, or of one, as copies; of the last numbers, or of others."""
        numbers = self._obs if numbers is None else numbers
        if self._sight is not None:
            return self._sight.observe(numbers, lane)
        return (numbers if lane is None else numbers[lane]).copy()

    def _told(self, ended: np.ndarray) -> np.ndarray:
        """Mask of lanes whose observations and infos tell of an end at this step: those whose episode ends."""
        return ended

    def _updated(self) -> np.ndarray:
        """Mask of lanes whose running statistics go on."""
        return np.array([lane.update_running_mean for lane in self._lanes])

    def _rows_of(self, lanes: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """The last observations, with new ones for some lanes."""
        return np.where(lanes[:, None], obs, self._obs).astype(self._observations.space.dtype)

    def _infos(self, obs: np.ndarray, metrics: Metrics, running: np.ndarray, ended: np.ndarray) -> Infos:
        """The infos of a step as gymnasium's SyncVectorEnv gathers them: under SameStep ends go into `final_info`."""
        if self._autoreset is not AutoresetMode.SAME_STEP:
            return metric_infos(metrics, running) | self.statistics.infos(ended)
        final = final_infos(lambda lane: self._observed(obs, lane), metrics, self.statistics, ended)
        return final | metric_infos(metrics, running & ~ended)


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        allowed = ", ".join(known.value for known in AutoresetMode)
        raise ValueError(f"autoreset_mode must be one of {allowed}, got {mode!r}") from None
