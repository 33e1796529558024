#!/usr/bin/env bash
# metaworld 3.1.1: `evaluation` counts the episodes that end first, which are the successful ones.
#
# It ends an episode at its first success, and averages the first `num_episodes` of each task's name to end, from all
# environments of that task together. With one environment a task, as MT10 has, these are consecutive episodes. With
# several, as in ML1 and ML10 (`meta_batch_size`), the environments whose goals are solved end many episodes while the
# others are at the first of 500 steps, so that a policy that solves half of the goals is given nearly all.
# `metalearning_evaluation` calls the same function.
#
# The policy here closes the drawers that stand on the right and stands still before the others. Beside what
# `evaluation` says stands the share of the environments in which their first episode is solved.
#
# Passes while metaworld behaves so; fails when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check metaworld==3.1.1 mujoco==3.3.0 gymnasium==1.4.0 packaging
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import gymnasium as gym
import metaworld  # registers its environments
import numpy as np
from metaworld.evaluation import evaluation
from metaworld.policies import ENV_POLICY_MAP

EPISODES = 3  # of each task's name, as many as metalearning_evaluation asks for by default


class Half:
    expert = ENV_POLICY_MAP["drawer-close-v3"]()

    def eval_action(self, obs):
        closes = [self.expert.get_action(row) if row[4] > 0 else np.zeros(4) for row in obs]
        return np.clip(closes, -1, 1)

    def reset(self, mask):
        pass


envs, agent = gym.make_vec("Meta-World/ML1-train", env_name="drawer-close-v3", meta_batch_size=10, seed=1), Half()
envs.call("toggle_sample_tasks_on_reset", False)  # as metalearning_evaluation calls
envs.call("sample_tasks")
told = evaluation(agent, envs, num_episodes=EPISODES)[0]
obs, _ = envs.reset()  # to the same goals
solved = np.zeros(envs.num_envs, bool)
for _ in range(200):
    obs, _, terminated, _, _ = envs.step(agent.eval_action(obs))
    solved |= terminated  # at the first success, as ML1 has it
true = solved.mean()
print(f"environments that are solved: {true:.2f}; metaworld's evaluation: {told:.2f}")
assert told > true + 0.25, "mended, or changed"
PYTHON
