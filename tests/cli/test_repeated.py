"""Options of several values that are given more than once."""

from __future__ import annotations

import shlex

import pytest

from mjx_metaworld.cli import main as cli
from mjx_metaworld.cli.repeated import joined, options_of_several

COMMANDS = {command.name: command for command in cli.COMMANDS}


def values(line: str, name: str) -> object:
    """The value of an argument of a command line."""
    command, *argv = shlex.split(line)
    return getattr(cli.parse(COMMANDS[command], argv).command, name)


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("train reach-v3 --set num_envs=4 --set epochs=1", "set", ("num_envs=4", "epochs=1")),
        ("train --set a=1 b=2 --seed 3 --set=c=3 d=4 --set a=5", "set", ("a=1", "b=2", "c=3", "d=4", "a=5")),
        ("train --set=a=1 --json --set b=2", "set", ("a=1", "b=2")),
        ("train --randomise friction=1,2 --randomise m:f", "randomise", ("friction=1,2", "m:f")),
        (
            "eval --physics box_pairs=20 --json --physics max_contacts=64",
            "physics",
            ("box_pairs=20", "max_contacts=64"),
        ),
        ("compare one two --labels A --minutes 3 --labels B C", "labels", ("A", "B", "C")),
        ("compare --labels A --output x.png one two --labels B", "runs", ("one", "two")),
        ("compare --labels A --labels B -- one two", "runs", ("one", "two")),
        ("bench --num-envs 8 --num_envs 16 32", "num_envs", (8, 16, 32)),
    ],
)
def test_the_values_of_a_repeated_option_add_up(line, name, expected):
    assert values(line, name) == expected


@pytest.mark.parametrize("command", cli.COMMANDS, ids=COMMANDS)
def test_every_option_of_several_values_may_be_repeated(command):
    arguments = cli.parse(command, []).command
    own = {name for name, value in vars(arguments).items() if isinstance(value, tuple)}
    options = options_of_several(type(arguments))
    assert options == {f"--{name.replace('_', '-')}" for name in own}
    for option in options - {"--runs"}:  # which has no option: it is positional
        argv = [option, "1", option, "2"]
        assert joined(argv, options) == [option, "1", "2"]


def test_what_stands_once_or_behind_two_dashes_stays():
    for line in ("reach-v3 --set a b --seed -1 --json", "--seed 1 --seed 2 x", "--set a -- --set b", "--labels -1 -.5"):
        assert joined(shlex.split(line), {"--set", "--labels"}) == shlex.split(line)
