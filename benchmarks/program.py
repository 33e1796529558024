"""Counts of an optimized XLA program, read as text: fusions, kernel launches, memory traffic.

Kernels of our own, which are calls with PTX, count as fusions.

Loops count as often as they go round; where their end depends on data they count once.
"""

from __future__ import annotations

import functools
import math
import re
from typing import NamedTuple

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_OWN = 'custom_call_target="__gpu$xla.gpu.ptx"'
_KERNELS = ("fusion", "sort", "copy", "gather", "scatter", "custom-call")
# What reads no more of its operand than it makes.
_SLICES = ("slice", "dynamic-slice", "gather")
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[\w\-]+)\((?P<rest>.*)")


class Instruction(NamedTuple):
    """One line of a program."""

    name: str
    type: str  # of its result, perhaps a tuple
    opcode: str
    operands: tuple[str, ...]
    rest: str  # what stands behind the opcode


def count_fusions(program: str) -> tuple[int, int]:
    """Fusions in an optimized program, and those of them in the loop over a control step's substeps."""
    lines = [x for x in program.splitlines() if " fusion(" in x or (" custom-call(" in x and _OWN in x)]
    return len(lines), sum(bool(re.search(r'op_name="[^"]*/substep/', x)) for x in lines)


def count_launches(program: str) -> int:
    """Kernels that a call of an optimized program runs, copies among them."""
    return _total(program, lambda instruction, _: 1)


def count_traffic(program: str) -> int:
    """Bytes that the kernels of an optimized program read and write: what they slice in part, all else once each.

    What a kernel reads repeatedly, because it does not stay in a register, is not counted again. Of what kernels of our
    own read, nothing is: it depends on the data.
    """
    return _total(program, _traffic)


Computations = dict[str, list[Instruction]]


def _total(program: str, cost) -> int:
    """Sum of `cost(instruction, computations)` over the kernels that a call runs."""
    computations, entry = _parse(program)

    @functools.cache
    def of(name: str) -> int:
        total = 0
        for each in computations[name]:
            if each.opcode in _KERNELS:
                total += cost(each, computations)
            if loop := re.search(r"condition=%?([\w.\-]+), body=%?([\w.\-]+)", each.rest):
                rounds = re.search(r"known_trip_count\D*(\d+)", each.rest)
                total += (int(rounds[1]) if rounds else 1) * (of(loop[1]) + of(loop[2]))
            called = re.search(r"(?:to_apply|calls)=%?([\w.\-]+)", each.rest)
            if called and each.opcode in ("call", "conditional"):
                total += of(called[1])
        return total

    return of(entry)


def _parse(program: str) -> tuple[Computations, str]:
    """The computations of a program, and the name of the one that it starts with."""
    computations: Computations = {}
    lines: list[Instruction] = []
    entry = ""
    for line in program.splitlines():
        if opening := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
            lines = computations.setdefault(opening[2], [])
            entry = opening[2] if opening[1] else entry
        elif found := _INSTRUCTION.match(line):
            operands = tuple(re.findall(r"%([\w.\-]+)", found["rest"].split(")")[0]))
            lines.append(Instruction(found["name"], found["type"], found["opcode"], operands, found["rest"]))
    return computations, entry


def _size(type: str) -> int:
    """Bytes of an array or of a tuple of arrays."""
    arrays = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", type)
    return sum(_BYTES[kind] * math.prod(int(n) for n in shape.split(",") if n) for kind, shape in arrays)


def _traffic(instruction: Instruction, computations: Computations) -> int:
    if instruction.opcode != "fusion":
        return (1 if _OWN in instruction.rest else 2) * _size(instruction.type)
    called = re.search(r"calls=%?([\w.\-]+)", instruction.rest)
    assert called is not None
    body = computations[called[1]]
    types = {each.name: each.type for each in body}
    read = sum(_needed(each, body) for each in body if each.opcode == "parameter")
    in_place = [each for each in body[-1:] if each.opcode == "dynamic-update-slice"]
    written = _size(types[in_place[0].operands[1]]) if in_place else _size(instruction.type)
    return read + written


def _needed(value: Instruction, body: list[Instruction]) -> int:
    """Bytes that a fused computation reads of a parameter, or of what only reshapes it."""
    whole, total = _size(value.type), 0
    for user in body:
        if value.name not in user.operands:
            continue
        first = user.operands[0] == value.name
        if user.opcode in _SLICES and first:
            total += _size(user.type)
        elif user.opcode in ("bitcast", "reshape"):
            total += _needed(user, body)
        elif not (user.opcode == "dynamic-update-slice" and first):
            return whole
    return min(total, whole)
