"""Meta-World with gymnax's interface, for PureJaxRL, rejax and their kin; gymnax itself is not needed."""

from __future__ import annotations

from typing import Any

import jax
from flax import struct
from jaxtyping import Array

from mjx_metaworld.adapters.gymnax_spaces import JaxBox, JaxDict, as_jax_box
from mjx_metaworld.adapters.views import named_pixels, picture_boxes
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.inputs.keys import PRNGKey, as_typed, as_words
from mjx_metaworld.physics.checks import check_boolean
from mjx_metaworld.types import State
from mjx_metaworld.vector import check_environment, step_and_restart


class GymnaxParams(struct.PyTreeNode):
    """Gymnax's `params`, as far as clients read them. Nothing to tune: options are those of `mjx_metaworld.make`."""

    max_steps_in_episode: int = struct.field(pytree_node=False)


class GymnaxEnv:
    """One environment that restarts by itself with a fresh task and goal; batch it with `jax.vmap`.

    With `pixels` an observation is the dict {"state": numbers, "pixels": pictures}; a lane is drawn once a step.

    Args:
        env: what to adapt.
        separate_truncation: return `(obs, state, reward, terminated, truncated, info)` as gymnax does from version 1,
            instead of `(obs, state, reward, done, info)` as before.

    Raises:
        TypeError: if `env` is no environment.
        ValueError: if `separate_truncation` is neither True nor False.
    """

    def __init__(self, env: MetaWorldEnv, *, separate_truncation: bool = True) -> None:
        check_environment(env)
        self.env = env
        self.separate_truncation = check_boolean("separate_truncation", separate_truncation)
        self.default_params = GymnaxParams(env.max_episode_steps)

    def reset(self, key: PRNGKey, params: GymnaxParams | None = None) -> tuple[Any, State]:
        """Start an episode of a task drawn uniformly."""
        state = self.env.reset(key)
        return _observation(state), state

    def step(self, key: PRNGKey, state: State, action: Array, params: GymnaxParams | None = None) -> tuple:
        """Advance by one control step; where it ends an episode, `key` draws the next, as gymnax's step does.

        `info` holds the metrics, the true successor as `final_observation` (its numbers), and `finite`, see `State`.
        """
        following, last = step_and_restart(self.env, _drawn_by(key, state), action)
        ends = {"terminated": last.terminated, "truncated": last.truncated}
        info = vars(last.metrics) | ends | {"final_observation": last.next_obs, "discount": 1.0 - last.terminated}
        info |= {"finite": last.finite}
        flags = ends.values() if self.separate_truncation else [last.terminated | last.truncated]
        return _observation(following), following, last.reward, *flags, info

    def observation_space(self, params: GymnaxParams | None = None) -> Any:
        """Box of gymnasium's, and of gymnax's where that is loaded; `sample` takes a key. With `pixels` a dict."""
        numbers = as_jax_box(self.env.observation_space)
        if self.env.pixels is None:
            return numbers
        drawn = named_pixels(jax.eval_shape(self.env.reset, jax.random.key(0)).pixels)
        boxes: Any = {"state": numbers} | {name: as_jax_box(box) for name, box in picture_boxes(drawn).items()}
        return JaxDict(boxes)

    def action_space(self, params: GymnaxParams | None = None) -> JaxBox:
        """Box [-1, 1]^4 of gymnasium's, and of gymnax's where that is loaded; `sample` takes a key."""
        return as_jax_box(self.env.action_space)

    @property
    def name(self) -> str:
        """Name of the task, or their number, for records."""
        tasks = self.env.tasks
        return f"mjx-metaworld/{tasks[0].name if len(tasks) == 1 else f'{len(tasks)} tasks'}"

    @property
    def num_actions(self) -> int:
        """4, the length of an action."""
        return self.env.action_size


def _drawn_by(key: PRNGKey, state: State) -> State:
    """The state whose next episode depends on a key of any kind, too: lanes that were made alike part ways."""
    episode = state.episode
    own = as_typed(episode.next_key, episode.key_impl)
    words, key_impl = as_words(jax.random.fold_in(own, jax.random.bits(as_typed(key))))
    return state.replace(episode=episode.replace(next_key=words, key_impl=key_impl))


def _observation(state: State) -> Any:
    return state.obs if state.pixels is None else {"state": state.obs} | named_pixels(state.pixels)
