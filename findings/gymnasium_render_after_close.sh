#!/usr/bin/env bash
# gymnasium 1.4.0: pictures of a MuJoCo environment that was closed are black, and nothing says so.
#
# MujocoEnv.close frees the viewer's OpenGL context, and the renderer keeps the freed viewer: reset and step go on as
# before, and render returns an array of zeros at once, where other parts of gymnasium raise ClosedEnvironmentError.
# It matters where a library closes environments that it was given: LeRobot 0.6.1's eval_policy_all does after each
# evaluation, so that a second one with the same Meta-World environments shows a policy black pictures, without an error.
# Make environments anew for each evaluation.
#
# Seen: metaworld's reach-v3 and gymnasium's Hopper-v5, 64x64: standard deviation above 20 before, all zero after close.
# Passes while it is so; fails when that changes. Needs EGL (libegl1).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check metaworld==3.1.1 gymnasium==1.4.0 mujoco==3.3.0 packaging
MUJOCO_GL=egl "$folder/env/bin/python" -W ignore - 2>"$folder/errors" <<'PYTHON' || { cat "$folder/errors" >&2; exit 1; }
import gymnasium as gym
import metaworld  # registers the environments
import numpy as np

size = {"render_mode": "rgb_array", "width": 64, "height": 64}
for name, options in (("Meta-World/MT1", {"env_name": "reach-v3", "camera_name": "corner2"}), ("Hopper-v5", {})):
    env = gym.make(name, **options, **size)
    env.reset(seed=1)
    before = env.render()
    env.close()
    env.reset(seed=1)
    env.step(env.action_space.sample())
    after = env.render()
    print(f"{name}: deviation of a picture {before.std():.0f}, after close and reset {after.std():.0f}, no error")
    assert before.std() > 20, "no picture at all"
    assert not after.any(), "mended, or changed"
PYTHON
