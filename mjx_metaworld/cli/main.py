"""Meta-World's 50 tasks as one batched JAX program."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import itertools
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mjx_metaworld.cli.imports import declaring_packages, import_tasks
from mjx_metaworld.cli.output import json_text
from mjx_metaworld.cli.repeated import joined, options_of_several
from mjx_metaworld.inputs.faults import described, is_refusal, place_of
from mjx_metaworld.processes.background import leave
from mjx_metaworld.processes.installed import install_command
from mjx_metaworld.processes.signals import EndedTogether, Terminated

if TYPE_CHECKING:
    from mjx_metaworld.cli.invocation import Invocation

PROG = "mjx-metaworld"
BAD_INPUT, FAILURE, INTERRUPTED, TERMINATED = 2, 1, 130, 143  # exit codes
_WHOLE = "JAX_TRACEBACK_FILTERING"  # the variable that asks JAX for whole tracebacks asks the commands, too
_EXTRA = f"rich and tyro are missing: {install_command('cli')}"


class Command(NamedTuple):
    """A command, named without importing it, so that help is fast."""

    name: str
    module: str
    arguments: str  # the dataclass in the module that declares them
    run: str  # the function in the module: (arguments, console) -> result for --json, or None
    summary: str
    examples: tuple[str, ...]  # what stands behind the command's name


COMMANDS = (
    Command(
        "demo",
        "mjx_metaworld.cli.demo",
        "Demo",
        "run_demo",
        "Run a suite's experts here and on CPU metaworld, and draw where they end.",
        ("", "--suite MT25 --num-goals 5"),
    ),
    Command(
        "tasks",
        "mjx_metaworld.cli.tasks",
        "Tasks",
        "run_tasks",
        "List the tasks with their scenes and suites.",
        ("", "MT10", "--json"),
    ),
    Command(
        "rollout",
        "mjx_metaworld.cli.rollout",
        "Rollout",
        "run_rollout",
        "Run one episode in every lane of a batch; success and return by task.",
        ("MT10", "reach-v3 --policy random --num-envs 64 --num-steps 100", "MT50 --num-envs 500 --json"),
    ),
    Command(
        "render",
        "mjx_metaworld.cli.render",
        "Render",
        "run_render",
        "Draw episodes: a video (.mp4, .gif), a contact sheet (.png), a replay (.html).",
        ("reach-v3", "MT10 --output out/mt10.gif --size 160", "door-open-v3 --output out/door.png --camera topview"),
    ),
    Command(
        "view",
        "mjx_metaworld.cli.view",
        "View",
        "run_view",
        "Watch and steer tasks, policies, training runs and recordings on a page in the browser.",
        ("reach-v3", "MT10 --lanes 4", "door-open-v3 --policy random --port 0"),
    ),
    Command(
        "eval",
        "mjx_metaworld.cli.evaluate",
        "Eval",
        "run_eval",
        "Evaluate a policy on the frozen goals, here and on CPU metaworld side by side.",
        (
            "MT10 --num-goals 10",
            "out/train/reach-v3-ppo-0 --reference",
            "reach-v3 --policy my_package.policies:load --num-goals 50 --num-steps 500",
        ),
    ),
    Command(
        "train",
        "mjx_metaworld.cli.train",
        "Train",
        "run_train",
        "Learn tasks from scratch; the same command again goes on from the last checkpoint.",
        ("reach-v3", "MT10 --algo ppo --preset MT10-gpu", "reach-v3 --seed 1 --set num_envs=64 hidden=[64,64]"),
    ),
    Command(
        "compare",
        "mjx_metaworld.cli.compare_runs",
        "Compare",
        "run_compare",
        "Compare training runs: success over environment steps and wall clock, with intervals over seeds.",
        ("'out/train/reach-v3-*'", "out/ppo-* out/sac-* --labels PPO SAC --minutes 30"),
    ),
    Command(
        "export",
        "mjx_metaworld.adapters.lerobot.export",
        "Export",
        "run_export",
        "Write episodes of the scripted experts as a LeRobot dataset.",
        ("--tasks reach-v3 --episodes 5", "--tasks MT10 --images video"),
    ),
    Command(
        "bench",
        "mjx_metaworld.cli.bench",
        "Bench",
        "run_bench",
        "Measure compile time and environment steps per second on this machine.",
        ("MT10 --num-envs 256 1024", "reach-v3 --num-envs 64 --seconds 5 --json"),
    ),
    Command(
        "parity",
        "mjx_metaworld.cli.parity",
        "Parity",
        "run_parity",
        "Measure parity with the live CPU reference: rewards, resets, steps, closed loop.",
        ("--tasks MT10 --num-goals 6 --num-steps 200", "--document README.md --guide docs/guides/parity.md"),
    ),
    Command(
        "cache",
        "mjx_metaworld.cli.cache",
        "Cache",
        "run_cache",
        "Show or clear what is kept for the next process: compiled programs, tables, settled states.",
        ("", "--clear"),
    ),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command named on the command line; exits with 2 for bad input and 1 for what failed on the way.

    A fault of this package is raised as it is, and with JAX_TRACEBACK_FILTERING=off any error.
    """
    form = warnings.formatwarning
    warnings.formatwarning = lambda message, *_: f"{PROG}: warning: {' '.join(str(message).split())}\n"
    try:
        leave(_main(list(sys.argv[1:] if argv is None else argv)))
    except EndedTogether:
        leave(TERMINATED)
    except KeyboardInterrupt as asked:
        _end(TERMINATED if isinstance(asked, Terminated) else INTERRUPTED)
    except Exception as error:  # a user's reward, placement or term may raise anything
        line = None if os.environ.get(_WHOLE) == "off" else _told(error)
        if line is None:
            raise
        print(f"{PROG}: error: {' '.join(line.split())}", file=sys.stderr)
        _end(FAILURE if isinstance(error, OSError | RuntimeError | ImportError) else BAD_INPUT)
    finally:
        warnings.formatwarning = form


def parse(command: Command, argv: Sequence[str]) -> Invocation[Any]:
    """The arguments of a command.

    Raises:
        ValueError: if they do not fit, with the reason in one line.
        SystemExit: after printing the help that was asked for.
    """
    _import("rich")
    tyro = _import("tyro")
    invocation = importlib.import_module("mjx_metaworld.cli.invocation").Invocation
    module = _load(command)
    arguments = getattr(module, command.arguments)
    examples = "\n".join(f"  {PROG} {command.name} {example}".rstrip() for example in command.examples)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                invocation[arguments],
                args=joined(argv, options_of_several(arguments)),
                prog=f"{PROG} {command.name}",
                description=f"{command.summary}\n\nexamples:\n{examples}{getattr(module, 'NOTES', '')}",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(f"{_one_line(complaint.getvalue())} (see {PROG} {command.name} --help)") from None


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        _print_help()
        return 0 if argv else BAD_INPUT
    if argv[0] == "--version":
        print(f"{PROG} {importlib.metadata.version(PROG)}")
        return 0
    command = next((command for command in COMMANDS if command.name == argv[0]), None)
    if command is None:
        names = ", ".join(command.name for command in COMMANDS)
        raise ValueError(f"unknown command {argv[0]!r}; available: {names}")
    if not {"-h", "--help"} & set(argv[1:]):
        import_tasks(argv[1:])
    invocation = parse(command, argv[1:])
    console = _import("rich.console").Console(stderr=invocation.json)
    result = getattr(importlib.import_module(command.module), command.run)(invocation.command, console)
    if invocation.json and not _is_follower():
        print(json_text(result))
    return 0


def _load(command: Command) -> Any:
    """The command's module; who looks on sees that JAX and MuJoCo take their time to load."""
    console = _import("rich.console").Console(stderr=True)
    if not console.is_terminal:
        return importlib.import_module(command.module)
    with console.status(f"loading {command.name}"):
        return importlib.import_module(command.module)


def _print_help() -> None:
    width = max(len(command.name) for command in COMMANDS) + 2
    print(f"usage: {PROG} COMMAND [ARGUMENTS]\n\n{__doc__}\n\ncommands:")
    for command in COMMANDS:
        print(f"  {command.name:{width}}{command.summary}")
    print("\nexamples:")
    for command in COMMANDS:
        print(f"  {PROG} {command.name} {command.examples[-1]}".rstrip())
    print(
        f"\n`{PROG} COMMAND --help` lists a command's arguments, `{PROG} --version` says which version this is;\n"
        "every command takes --json, and --import FILE.py, a file that declares tasks of your own.\n"
        f"An error is one line; the variable {_WHOLE}=off shows the whole traceback."
    )


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(_EXTRA) from error


def _one_line(boxed: str) -> str:
    """The message of a box that tyro has drawn: what stands below its heading, down to the rule above the hints."""
    lines = [line.strip("╭╮╰╯│─ ") for line in boxed.splitlines()]
    lines = ["" if set(line) == {"-"} else line for line in lines]  # rules are dashes where output is not UTF-8
    below = itertools.dropwhile(lambda line: not line, lines[1:])
    message = " ".join(itertools.takewhile(bool, below))
    return message.removeprefix("Error parsing command: ") or "bad arguments"


def _told(error: Exception) -> str | None:
    """An error as its line, with its place in a user's code; None of a fault of this package, which has a traceback."""
    place = place_of(error, declaring_packages())
    if place:
        return described(error) + place
    is_plain = isinstance(error, ValueError | OSError | RuntimeError | ImportError)
    return str(error) if is_plain or is_refusal(error) else None


def _end(code: int) -> None:
    """End a process, which if it is one of several does not wait for the others."""
    if (cluster := sys.modules.get("mjx_metaworld.processes.cluster")) is not None and cluster.is_connected():
        cluster.end_at_once(code)
    leave(code)


def _is_follower() -> bool:
    """True of a process whose run another one reports."""
    hosts = sys.modules.get("mjx_metaworld.processes.hosts")  # JAX is not loaded where no command has done so
    return hosts is not None and hosts.is_follower()


if __name__ == "__main__":
    main()
