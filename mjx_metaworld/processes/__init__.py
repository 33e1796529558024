"""Processes of the operating system: forks, signals, and folders that one process at a time may write."""
