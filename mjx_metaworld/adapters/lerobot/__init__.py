"""Meta-World for LeRobot: an environment for `lerobot-eval` and `lerobot-train`, and expert datasets.

This package itself imports nothing. `config` registers the environment and needs LeRobot installed; LeRobot imports it
by `--env.discover_packages_path=mjx_metaworld.adapters.lerobot`, or unasked where the distribution
`lerobot_env_mjx_metaworld` is installed.
"""
