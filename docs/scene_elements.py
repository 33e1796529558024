"""Elements of a scene's file and whether they fit: the guide's table, each row of which tests/scenes tries."""

from __future__ import annotations

from typing import NamedTuple


class Element(NamedTuple):
    """Something that may stand in a file, in the scene of tests/scenes with an object and a fixture."""

    name: str
    xml: str
    refused: str | None = None  # what `mw.check_scene` says of it, None where it fits
    note: str = ""


def _contact(element: str) -> str:
    return f"<contact>{element}</contact>"


def _world(element: str) -> str:
    return f"<worldbody>{element}</worldbody>"


def _option(attributes: str) -> str:
    return f"<option {attributes}/>"


_WEIGHT = '<inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>'
_CONNECT = '<connect body1="ball" body2="flap" anchor="0 0 0"/>'
_FLAGS = '<flag contact="disable" multiccd="enable"/>'

ELEMENTS = (
    Element("gravity", _option('gravity="0 0 -5"'), note="each scene its own, also in one environment"),
    Element("no gravity", '<option><flag gravity="disable"/></option>'),
    *(
        Element(f"condim {n}", f'<default><geom condim="{n}"/></default>', note=note)
        for n, note in ((1, "no friction"), (3, ""), (4, ""), (6, "on CUDA without this package's own kernels"))
    ),
    Element("margin and gap", '<default><geom margin="0.003" gap="0.002"/></default>'),
    Element("priority and solmix", '<default><geom priority="1" solmix="2"/></default>'),
    Element(
        "solref, solimp", '<default><geom solref="-1000 -50" solimp="0.8 0.9 0.002"/></default>', note="both forms"
    ),
    Element("exclude", _contact('<exclude body1="ball" body2="flap"/>')),
    Element(
        "pair", _contact('<pair geom1="ball" geom2="flap" condim="6"/>'), note="friction alike along both tangents"
    ),
    Element("solver's counts", _option('iterations="3" ls_iterations="3"'), note="`PhysicsConfig` has its own"),
    Element("wind alone", _option('wind="1 0 0"'), note="moves nothing without a medium"),
    Element("sensors", '<sensor><jointpos joint="up"/></sensor>', note="not read"),
    Element("keyframes", '<keyframe><key name="start"/></keyframe>', note="not read"),
    Element("user data", '<size nuserdata="3"/>', note="not read"),
    Element("timestep", _option('timestep="0.002"'), "option timestep is 0.002"),
    Element("cone", _option('cone="pyramidal"'), "option cone"),
    Element("integrator", _option('integrator="RK4"'), "option integrator"),
    Element("solver", _option('solver="CG"'), "option solver"),
    Element("impratio", _option('impratio="10"'), "option impratio is 10.0"),
    Element("noslip", _option('noslip_iterations="3"'), "option noslip_iterations is 3"),
    Element("density", _option('density="1.2"'), "option density is 1.2"),
    Element("viscosity", _option('viscosity="1"'), "option viscosity is 1.0"),
    Element("other flags", f"<option>{_FLAGS}</option>", "option flags contact, multiccd are"),
    Element("actuator groups off", _option('actuatorgroupdisable="0"'), "option actuatorgroupdisable is 1"),
    Element("equality", f"<equality>{_CONNECT}</equality>", "1 equality constraints"),
    Element("tendon", '<tendon><fixed><joint joint="up" coef="1"/></fixed></tendon>', "1 tendon elements"),
    Element("further actuator", '<actuator><motor joint="up"/></actuator>', "3 actuators, on r_close, l_close, up"),
    Element(
        "ellipsoid", _world('<geom name="egg" type="ellipsoid" size="0.1 0.1 0.1"/>'), "geom egg of type ellipsoid"
    ),
    Element(
        "height field",
        '<asset><hfield name="h" nrow="3" ncol="3" size="1 1 1 1"/></asset>'
        + _world('<geom name="hill" type="hfield" hfield="h"/>'),
        "geom hill of type hfield",
    ),
    Element("second mocap body", _world('<body mocap="true"/>'), "2 mocap bodies"),
    Element("second object", _world(f'<body name="cube"><freejoint/>{_WEIGHT}</body>'), "2 free bodies, ball, cube"),
    Element("frictionloss", '<default><joint frictionloss="1"/></default>', "frictionloss in the joints"),
    Element("margin of limits", '<default><joint margin="0.01"/></default>', "a margin of the limits of the joints"),
)


def rows() -> list[tuple[str, ...]]:
    """The guide's table: element, whether it fits, and what the check says or what to know."""
    return [
        (element.name, "fits" if element.refused is None else "refused", element.note or _said(element))
        for element in ELEMENTS
    ]


def _said(element: Element) -> str:
    return "computed as MuJoCo does" if element.refused is None else f"`{element.refused} ...`"
