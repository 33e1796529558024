"""The environment's entry in LeRobot: importing this module registers `--env.type=mjx_meta_world`.

The name lacks the word that makes older versions of LeRobot build their own CPU environment.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast, get_args

from mjx_metaworld.adapters.lerobot.tasks import TaskTexts, distinct_tasks, task_groups, task_texts
from mjx_metaworld.adapters.lerobot.vector_env import (
    AGENT_POS,
    LeRobotVectorEnv,
    ObsType,
    environment_state_size,
)
from mjx_metaworld.processes.installed import install_command
from mjx_metaworld.rendering.render import check_renderer
from mjx_metaworld.suites import resolve
from mjx_metaworld.types import CONTROL_RATE, EPISODE_STEPS

try:
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.envs.configs import EnvConfig
    from lerobot.envs.metaworld import TASK_DESCRIPTIONS
    from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_IMAGE, OBS_STATE
except ImportError as error:
    raise ImportError(
        f"LeRobot cannot be imported ({error}). Install it beside this package: {install_command('lerobot')}"
    ) from error


@EnvConfig.register_subclass("mjx_meta_world")
@dataclass
class MjxMetaWorldEnv(EnvConfig):
    """Meta-World's tasks in JAX, as `lerobot-eval` and `lerobot-train` take them.

    `--env.task` takes task names, the groups easy, medium, hard and very_hard, and suites such as MT50, separated by
    commas.
    """

    task: str | None = "reach-v3"
    fps: int = CONTROL_RATE
    episode_length: int = EPISODE_STEPS  # control steps until an episode without success ends
    obs_type: str = "pixels_agent_pos"  # or pixels, or state: no pictures but Meta-World's 39 numbers
    observation_height: int = 480
    observation_width: int = 480
    task_texts: str = "lerobot"  # or corrected, where push-back-v3 does not share the text of push-v3
    one_hot: str | None = None  # a suite such as MT50: observe the task's one-hot vector among its tasks
    renderer: str = "auto"  # device draws pictures where the physics runs, opengl on the host; auto prefers the former
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(
        default_factory=lambda: {
            "action": ACTION,
            "agent_pos": OBS_STATE,
            "pixels/top": OBS_IMAGE,
            "environment_state": OBS_ENV_STATE,
        }
    )

    def __post_init__(self) -> None:
        if self.obs_type not in get_args(ObsType):
            raise ValueError(f"unknown obs_type {self.obs_type!r}; available: {', '.join(get_args(ObsType))}")
        check_renderer(self.renderer)
        self.features["action"] = PolicyFeature(FeatureType.ACTION, (4,))
        if self.obs_type != "pixels":
            self.features["agent_pos"] = PolicyFeature(FeatureType.STATE, (AGENT_POS,))
        if self.obs_type != "state":
            shape = (self.observation_height, self.observation_width, 3)
            self.features["pixels/top"] = PolicyFeature(FeatureType.VISUAL, shape)
        extent = environment_state_size(cast(ObsType, self.obs_type), len(self._one_hot_tasks()))
        if extent:
            self.features["environment_state"] = PolicyFeature(FeatureType.ENV, (extent,))

    def _one_hot_tasks(self) -> tuple[str, ...]:
        return () if self.one_hot is None else tuple(spec.name for spec in resolve(self.one_hot))

    @property
    def gym_id(self) -> str:
        """Gymnasium id, asked for by LeRobot before 0.6 only, which steps single gymnasium environments.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "this version of LeRobot cannot build batched environments of other packages; use LeRobot 0.6 or later, or "
            "pass what create_envs returns to eval_policy_all"
        )

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the vector environments, besides their task."""
        return {
            "obs_type": self.obs_type,
            "one_hot": self._one_hot_tasks(),
            "max_episode_steps": self.episode_length,
            "width": self.observation_width,
            "height": self.observation_height,
            "renderer": self.renderer,
        }

    def create_envs(  # type: ignore[override]  # a gymnasium vector env of another class
        self, n_envs: int, use_async_envs: bool = False
    ) -> dict[str, dict[int, LeRobotVectorEnv]]:
        """One vector environment a task, by group and LeRobot's task id; none is built before its first reset.

        Args:
            n_envs: lanes of each.
            use_async_envs: ignored; all lanes are stepped in one program.

        Raises:
            ValueError: for unknown tasks, or a task that is not in `one_hot`.
        """
        groups = task_groups(self.task or "")
        texts = task_texts(cast(TaskTexts, self.task_texts), TASK_DESCRIPTIONS)
        compiled_for = distinct_tasks(groups)
        return {
            group: {
                task_id: LeRobotVectorEnv(
                    spec.name,
                    n_envs,
                    task_description=texts[spec.name],
                    compiled_for=compiled_for,
                    **self.gym_kwargs,
                )
                for task_id, spec in enumerate(specs)
            }
            for group, specs in groups.items()
        }
