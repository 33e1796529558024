"""Processes of the operating system: forks, signals, folders that one at a time may write, several for one program."""
