"""Files of scenes of one's own: metaworld's cell and robot, and what a test puts into them."""

from __future__ import annotations

ROBOT = """
  <actuator>
    <position ctrllimited="true" ctrlrange="-1 1" joint="r_close" kp="400"/>
    <position ctrllimited="true" ctrlrange="-1 1" joint="l_close" kp="400"/>
  </actuator>
  <equality><weld body1="mocap" body2="hand" solref="0.02 1"/></equality>
"""


def scene_text(world: str, *, head: str = "", robot: str = ROBOT, more: str = "") -> str:
    """Text of a scene's file.

    Args:
        world: elements of the world's body, beside the robot.
        head: elements before it, such as assets.
        robot: what moves the robot.
        more: elements after it.
    """
    return f"""<mujoco>
  <include file="metaworld/scene/basic_scene.xml"/>
  <include file="metaworld/objects/assets/xyz_base_dependencies.xml"/>{head}
  <worldbody>
    <include file="metaworld/objects/assets/xyz_base.xml"/>{world}
  </worldbody>{robot}{more}
</mujoco>"""
