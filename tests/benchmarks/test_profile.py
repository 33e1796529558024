"""How a profile's kernels are told apart by the files that they are from."""

from benchmarks.profile import Kernel, Stage, stages_of

# Two kernels of a stage, one of them by way of a helper, one that no stage calls, and one without an instruction.
PROGRAM = """HloModule example

FileNames
1 "/somewhere/mjx_metaworld/physics/kinematics.py"
2 "/somewhere/mjx_metaworld/physics/sums.py"
3 "/somewhere/mjx_metaworld/physics/collision/__init__.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=7 end_line=7 column=1 end_column=2}
2 {file_name_id=2 function_name_id=1 line=8 end_line=8 column=1 end_column=2}
3 {file_name_id=3 function_name_id=1 line=9 end_line=9 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=1}
3 {file_location_id=2 parent_frame_id=3}
4 {file_location_id=3 parent_frame_id=4}

ENTRY %main (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %loop_add_fusion.1 = f32[8]{0} fusion(%p), kind=kLoop, calls=%a, metadata={op_name="add" stack_frame_id=1}
  %loop_add_fusion.2 = f32[8]{0} fusion(%p), kind=kLoop, calls=%b, metadata={op_name="add" stack_frame_id=2}
  %loop_add_fusion.3 = f32[8]{0} fusion(%p), kind=kLoop, calls=%b, metadata={op_name="add" stack_frame_id=3}
  ROOT %wrapped-add = f32[8]{0} fusion(%p), kind=kLoop, calls=%b, metadata={op_name="add" stack_frame_id=4}
}
"""


def test_kernels_count_for_the_file_that_calls_the_helpers():
    names = (
        "loop_add_fusion_1",
        "loop_add_fusion_2",
        "loop_add_fusion_2",
        "loop_add_fusion_3",
        "wrapped_add",
        "newton",
    )
    kernels = [Kernel(name, 1e-3 * (number + 1)) for number, name in enumerate(names)]
    assert stages_of(kernels, PROGRAM, steps=2) == [
        Stage("kinematics", 3.0, 1.5),
        Stage("newton", 3.0, 0.5),
        Stage("collision", 2.5, 0.5),
        Stage("helpers", 2.0, 0.5),
    ]
