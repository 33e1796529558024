"""A policy on CPU metaworld, run by the reference's own evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mjx_metaworld.compile import jit
from mjx_metaworld.env import MetaWorldEnv
from mjx_metaworld.parity.evaluation import Observe, Outcome, evaluate_part, parts_of
from mjx_metaworld.rendering.opengl import HEADLESS, Painter, library
from mjx_metaworld.rendering.render import choose_backend
from mjx_metaworld.suites import require_metaworld
from mjx_metaworld.training.view import Sight, View
from mjx_metaworld.types import EPISODE_STEPS, Policy


def evaluate_on_reference(
    env: MetaWorldEnv,
    policy: Policy,
    rand_vecs: Sequence[np.ndarray],
    num_steps: int = EPISODE_STEPS,
    advance: Callable[[], object] = lambda: None,
    sight: Sight | None = None,
) -> list[Outcome]:
    """Evaluate with `metaworld.evaluation.evaluation`, task by task, each goal once; `parity.evaluation` divides this.

    Args:
        env: what the policy was made for: tasks, and whether observations carry the one-hot vector.
        policy: deterministic.
        rand_vecs: (n, rand) goal vectors a task, the same n for all.
        num_steps: control steps an episode at most, up to the reference's 500.
        advance: called after every control step, for a progress bar.
        sight: what a policy that sees is shown, drawn by OpenGL from metaworld's own scene; None for one that does not.

    Raises:
        ValueError: if metaworld lacks one of the tasks.
        RuntimeError: if a policy that sees is to be shown OpenGL's pictures where there is no OpenGL.
    """
    require_metaworld(env.tasks, "the evaluation on CPU metaworld")
    act, observe_of = jit(policy), None if sight is None else _observe_of(sight)
    return [evaluate_part(part, act, observe_of, advance) for part in parts_of(env, rand_vecs, num_steps)]


def _observe_of(sight: Sight) -> Callable[[SawyerXYZEnv], Observe]:
    """Eyes on metaworld's environments, as these are when asked."""
    backend = choose_backend()
    if backend not in HEADLESS:
        raise RuntimeError("pictures of CPU metaworld need OpenGL: " + " or ".join(map(library, HEADLESS)))
    painter, size = Painter(backend, max_scenes=1), sight.size

    def observe_of(scene: Any) -> Observe:
        for name, pos in sight.placed():
            if pos is not None:
                scene.model.camera(name).pos[:] = pos  # from the next reset on, with which an evaluation begins

        def observe(observations: np.ndarray) -> View:
            cameras = [scene.model.camera(name).id for name, _ in sight.placed()]
            pictures = [painter.draw(scene.model, scene.data, camera, size, size, depth=False) for camera in cameras]
            return View(np.array([pictures]), np.array(observations[:, : sight.hand_size], np.float32))

        return observe

    return observe_of
