#!/usr/bin/env bash
# metaworld 3.1.1 with gymnasium 1.4.0: pictures of two environments in one process, drawn by turns.
#
# gymnasium's MujocoRenderer, by which metaworld draws, makes an OpenGL context current when its viewer is made, and
# draws without making it current again. Once another environment has drawn, the first one's pictures are drawn in the
# other's context, with the textures and meshes that this holds. A simulation that nobody has touched in between gives
# two different pictures. So it is with gymnasium's own environments (Hopper-v5, then Ant-v5: 19 % of pixels).
#
# Seen: reach-v3 drawn twice in a row, 0 % of pixels differ; drawn again after drawer-open-v3 was, 75 % of pixels differ
# by more than 2 of 255. Evaluations of several tasks in one process show a policy such pictures.
# Passes while it is so; fails when that changes. Needs EGL (libegl1).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check metaworld==3.1.1 gymnasium==1.4.0 mujoco==3.3.0 packaging
MUJOCO_GL=egl "$folder/env/bin/python" -W ignore - 2>"$folder/errors" <<'PYTHON' || { cat "$folder/errors" >&2; exit 1; }
import os

import gymnasium as gym
import metaworld  # registers the environments
import numpy as np


def differing(one, other):
    return float(np.mean(np.abs(one.astype(int) - other.astype(int)) > 2))


sizes = {"render_mode": "rgb_array", "camera_name": "corner2", "width": 64, "height": 64, "seed": 1}
reach, drawer = (gym.make("Meta-World/MT1", env_name=name, **sizes) for name in ("reach-v3", "drawer-open-v3"))
reach.reset()
drawer.reset()
first, again = reach.render(), reach.render()
drawer.render()
after = reach.render()
print(f"differing pixels: {differing(first, again):.1%} in a row, {differing(first, after):.1%} after another drew", flush=True)
assert differing(first, again) == 0.0
assert differing(first, after) > 0.1, "mended, or changed"
os._exit(0)  # past the end of the contexts, which complains
PYTHON
