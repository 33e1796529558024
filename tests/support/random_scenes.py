"""Random scenes of one's own that fit the skeleton: an object, a fixture, obstacles, and what files may set of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mjx_metaworld.scenes.catalog import SceneSpec
from support.scene_files import scene_text

_SIZES = {
    "sphere": lambda rng: (rng.uniform(0.015, 0.03),),
    "capsule": lambda rng: (rng.uniform(0.01, 0.02), rng.uniform(0.01, 0.04)),
    "cylinder": lambda rng: (rng.uniform(0.015, 0.03), rng.uniform(0.01, 0.03)),
    "box": lambda rng: rng.uniform(0.012, 0.035, 3),
}


def random_scene(folder: Path, seed: int) -> SceneSpec:
    """Write the scene of a seed into a folder."""
    rng = np.random.default_rng(seed)
    meshes: list[str] = []
    world = [_object(rng, meshes)] if rng.random() < 0.9 else []
    has_fixture = rng.random() < 0.8
    if has_fixture:
        world.append(_fixture(rng, meshes))
    for number in range(rng.integers(0, 3)):
        pos = rng.uniform(-0.15, 0.15), rng.uniform(0.65, 0.85), 0.03
        world.append(_geom(rng, meshes, f"obstacle{number}", pos=_text(pos), euler=_text(rng.uniform(-1, 1, 3))))
    gravity = rng.choice(["0 0 -9.81", "0 0 -5", "1 0.5 -9"])
    path = folder / f"random{seed}.xml"
    head = f"""
  <option gravity="{gravity}"/>
  <asset>{"".join(meshes)}</asset>"""
    contact = _contact(rng, len(world) > 1 and has_fixture and "object" in world[0])
    path.write_text(scene_text("".join(world), head=head, more=contact))
    return SceneSpec(path, "stand" if has_fixture and rng.random() < 0.5 else None)


def _text(values) -> str:
    return " ".join(f"{value:.6g}" for value in np.atleast_1d(values))


def _geom(rng: np.random.Generator, meshes: list[str], name: str, **more: str) -> str:
    kind = rng.choice([*_SIZES, "mesh"])
    if kind == "mesh":
        points = rng.normal(size=(rng.integers(5, 14), 3))
        points *= rng.uniform(0.02, 0.035) / np.linalg.norm(points, axis=1, keepdims=True)
        meshes.append(f'<mesh name="{name}" vertex="{_text(points.ravel())}"/>')
        form = f'type="mesh" mesh="{name}"'
    else:
        form = f'type="{kind}" size="{_text(_SIZES[kind](rng))}"'
    friction = rng.uniform(0.3, 1.5), rng.uniform(0.002, 0.05), rng.uniform(0.0001, 0.002)
    options = {"condim": str(rng.choice([1, 3, 4, 6])), "friction": _text(friction)} | more
    if rng.random() < 0.3:
        options["priority"] = "1"
    if rng.random() < 0.3:
        options["solmix"] = _text(rng.uniform(0.0, 3.0))
    if rng.random() < 0.3:
        options |= {"margin": "0.003", "gap": str(rng.choice([0, 0.002]))}
    if rng.random() < 0.3:
        options["solref"] = rng.choice(["0.01 1", "0.03 0.7", "-2000 -60"])
    return f'<geom name="{name}" {form} {" ".join(f"""{key}="{value}" """ for key, value in options.items())}/>'


def _inertial(rng: np.random.Generator) -> str:
    mass = rng.uniform(0.03, 0.3)
    inertia = mass * rng.uniform(0.8, 1.2, 3) * 4e-4
    return f'<inertial pos="{_text(rng.uniform(-0.01, 0.01, 3))}" mass="{mass:.6g}" diaginertia="{_text(inertia)}"/>'


def _object(rng: np.random.Generator, meshes: list[str]) -> str:
    joint = f'<joint type="free" damping="{rng.choice([0, 0.002])}" armature="{rng.choice([0, 0.001])}"/>'
    geoms = [_geom(rng, meshes, "object")]
    if rng.random() < 0.4:
        geoms.append(_geom(rng, meshes, "handle", pos="0.03 0 0"))
    return f'<body name="object" pos="0 0.6 0.05">{joint}{_inertial(rng)}{"".join(geoms)}</body>'


def _fixture(rng: np.random.Generator, meshes: list[str]) -> str:
    joints = []
    for name, kind in (("a", "slide"), ("b", "slide"), ("c", "hinge")):
        if rng.random() < 0.5 or (name == "c" and not joints):
            reach = 0.05 if kind == "slide" else 0.6
            low, high = (_text(reach * x) for x in (-rng.random(), rng.random()))
            spring = f'stiffness="{_text(rng.uniform(0, 20))}" springref="{_text(rng.uniform(-0.02, 0.02))}"'
            limit = f'limited="true" range="{low} {high}" solreflimit="{rng.choice(["0.02 1", "-5000 -100"])}"'
            axis = _text(rng.normal(size=3))
            damping = _text(rng.uniform(0.05, 2))
            options = f"{spring if rng.random() < 0.5 else ''} {limit if rng.random() < 0.8 else ''}"
            joints.append(
                f'<joint name="{name}" type="{kind}" axis="{axis}" damping="{damping}" armature="0.001" {options}/>'
            )
    pos = f"{rng.uniform(-0.1, 0.1):.4g} 0.75 0"
    return (
        f'<body name="stand" pos="{pos}"><geom type="box" size="0.04 0.01 0.04" pos="0 0.1 0.04"/>'
        f'<body name="part" pos="0 0 0.08">{"".join(joints)}{_inertial(rng)}{_geom(rng, meshes, "part")}</body></body>'
    )


def _contact(rng: np.random.Generator, both: bool) -> str:
    """Perhaps an exclude, or an explicit pair, of object and part."""
    if not both or rng.random() < 0.3:
        return ""
    if rng.random() < 0.5:
        return '<contact><exclude body1="object" body2="part"/></contact>'
    friction = rng.uniform(0.3, 1.5)
    return (
        f'<contact><pair geom1="part" geom2="object" condim="{rng.choice([1, 3, 4, 6])}" '
        f'friction="{friction:.4g} {friction:.4g} 0.01 0.001 0.001" solref="0.01 1"/></contact>'
    )
