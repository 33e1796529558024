"""Terms by their text: ready-made ones with bounds, one's own by import path, and all else refused by name."""

import sys
import types

import pytest

import mjx_metaworld as mw
from mjx_metaworld.randomise.naming import term_of


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("friction=0.5,1.5", mw.randomise.friction(0.5, 1.5)),
        ("object_mass=1,2", mw.randomise.object_mass(1, 2)),
        ("action_delay=0,2", mw.randomise.action_delay(0, 2)),
        ("initial_joint_noise=-0.01,1e-2", mw.randomise.initial_joint_noise(-0.01, 0.01)),
    ],
)
def test_a_text_makes_the_term_that_python_makes(text, term):
    assert term_of(text) == term
    assert type(term_of(text)) is type(term)


def test_every_ready_made_term_has_a_name():
    public = {name for name in mw.randomise.__all__ if name.islower() and name != "parameters"}
    for name in public:
        assert type(term_of(f"{name}=1,2")) is type(getattr(mw.randomise, name)(1, 2))


def test_own_terms_go_by_their_import_path(monkeypatch):
    module = types.ModuleType("own_terms")
    module.light = lambda key, drawn, nominal: drawn
    module.weight = 3
    monkeypatch.setitem(sys.modules, "own_terms", module)
    assert term_of("own_terms:light") is module.light
    with pytest.raises(ValueError, match=r"'own_terms:dark': .* no attribute 'dark'"):
        term_of("own_terms:dark")
    with pytest.raises(ValueError, match=r"'own_terms:weight': randomise takes terms"):
        term_of("own_terms:weight")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fricton=0.5,1.5", "no term is called 'fricton'; did you mean friction"),
        ("wind=0,1", "no term is called 'wind'; there are friction, object_mass"),
        ("friction", "unknown term 'friction'; expected NAME=LOW,HIGH"),
        ("friction=0.5", "a term takes two numbers, such as friction=0,1, got 'friction=0.5'"),
        ("friction=a,b", "a term takes two numbers"),
        ("friction=2,1", "friction takes low <= high"),
        ("friction=nan,1", "friction takes finite numbers"),
        ("action_delay=0.5,1", "action_delay's low must be"),
        ("nowhere:term", "cannot load the term 'nowhere:term': No module named 'nowhere'"),
    ],
)
def test_what_is_no_term_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        term_of(text)
