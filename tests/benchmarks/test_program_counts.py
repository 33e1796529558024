"""What `benchmarks` counts in a compiled program."""

import pytest

from benchmarks.program import count_fusions, count_launches, count_traffic

# Eight numbers are doubled in a loop of three rounds, whose count is another kernel; then half are added to four.
PROGRAM = """
HloModule example

%doubled (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  ROOT %sum = f32[8]{0} add(%x, %x)
}

%next (i: s32[]) -> s32[] {
  %i = s32[] parameter(0)
  %one = s32[] constant(1)
  ROOT %more = s32[] add(%i, %one)
}

%in_range (i.1: s32[]) -> pred[] {
  %i.1 = s32[] parameter(0)
  %three = s32[] constant(3)
  ROOT %less = pred[] compare(%i.1, %three), direction=LT
}

%half (a: f32[8], b: f32[4]) -> f32[4] {
  %a = f32[8]{0} parameter(0)
  %flat = f32[8]{0} bitcast(%a)
  %part = f32[4]{0} slice(%flat), slice={[0:4]}
  %b = f32[4]{0} parameter(1)
  ROOT %both = f32[4]{0} add(%part, %b)
}

%body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s = (s32[], f32[8]{0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%s), index=0
  %y = f32[8]{0} get-tuple-element(%s), index=1
  %fusion.1 = f32[8]{0} fusion(%y), kind=kLoop, calls=%doubled, metadata={op_name="jit(f)/substep/add"}
  %fusion.2 = s32[] fusion(%i.2), kind=kLoop, calls=%next
  ROOT %t = (s32[], f32[8]{0}) tuple(%fusion.2, %fusion.1)
}

%cond (s.1: (s32[], f32[8])) -> pred[] {
  %s.1 = (s32[], f32[8]{0}) parameter(0)
  %i.3 = s32[] get-tuple-element(%s.1), index=0
  ROOT %fusion.3 = pred[] fusion(%i.3), kind=kLoop, calls=%in_range
}

ENTRY %main (p: f32[8], q: f32[4]) -> f32[4] {
  %p = f32[8]{0} parameter(0)
  %q = f32[4]{0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[8]{0}) tuple(%zero, %p)
  %loop = (s32[], f32[8]{0}) while(%start), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %z = f32[8]{0} get-tuple-element(%loop), index=1
  ROOT %out = f32[4]{0} fusion(%z, %q), kind=kLoop, calls=%half
}
"""


def test_fusions_of_a_substep_are_told_apart():
    assert count_fusions(PROGRAM) == (4, 1)


def test_loops_count_as_often_as_they_go_round():
    assert count_launches(PROGRAM) == 3 * (2 + 1) + 1
    unknown = PROGRAM.replace(', backend_config={"known_trip_count":{"n":"3"}}', "")
    assert count_launches(unknown) == 2 + 1 + 1


@pytest.mark.parametrize(("operation", "read"), [("slice", 16), ("negate", 32)])
def test_traffic_is_what_kernels_read_and_write(operation, read):
    """A slice of what is only bitcast reads its part, anything else all of it."""
    program = PROGRAM.replace("%part = f32[4]{0} slice(", f"%part = f32[4]{{0}} {operation}(")
    doubled, counted, compared, halved = 32 + 32, 4 + 4, 4 + 1, read + 16 + 16
    assert count_traffic(program) == 3 * (doubled + counted + compared) + halved


def test_a_kernel_of_our_own_is_one_more():
    """A call with PTX; calls of other things, as libraries, are no fusions."""
    target, name = 'custom_call_target="__gpu$xla.gpu.ptx"', 'op_name="jit(f)/substep/own"'
    call = f"  %own = f32[8]{{0}} custom-call(%y), {target}, metadata={{{name}}}\n"
    with_own = PROGRAM.replace("  %fusion.2 =", call + "  %fusion.2 =")
    with_other = with_own.replace("__gpu$xla.gpu.ptx", "another")
    assert count_fusions(with_own) == tuple(n + 1 for n in count_fusions(PROGRAM))
    assert count_fusions(with_other) == count_fusions(PROGRAM)
    assert count_launches(with_own) == count_launches(PROGRAM) + 3  # rounds of the loop
    assert count_traffic(with_own) == count_traffic(PROGRAM) + 3 * 8 * 4  # what it writes
