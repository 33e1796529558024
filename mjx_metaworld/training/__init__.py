"""Learning on the tasks: PPO and SAC, checkpoints, evaluation, records. Needs the extra `train`."""
