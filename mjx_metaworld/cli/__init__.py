"""The commands of `mjx-metaworld`, a module each: a dataclass of arguments, and a function that runs it.

A module may import what it likes: `mjx_metaworld.cli.main` imports it when its command is asked for.
"""
