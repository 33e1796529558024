"""Tasks and suites declared outside the package: found by their names wherever names are taken."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjx_metaworld as mw
from mjx_metaworld import observation, suites
from mjx_metaworld.build import bank
from mjx_metaworld.build.check import check_tasks
from mjx_metaworld.experts import expert_policy
from mjx_metaworld.suites import in_metaworld, register_suite, require_metaworld, resolve
from mjx_metaworld.tasks import Observed, Point, RewardInputs, RewardOutput, TaskSpec, drawer, placement, registry, task
from mjx_metaworld.tasks.padded import placer
from mjx_metaworld.tasks.spec import Orientation, Settled, check_output, check_placement
from mjx_metaworld.testing import KinematicEngine

pytestmark = pytest.mark.usefixtures("scratch_registry")

DRAWER = resolve("drawer-open-v3")[0]


def reward(s: RewardInputs) -> RewardOutput:
    """Open it a little. Success: at once."""
    return drawer.drawer_open(s)


def declared(name: str, like: str = "drawer-open-v3", **fields) -> TaskSpec:
    task(name, like=like, **fields)(reward)
    return resolve(name)[0]


# --- declarations ---


def test_an_environment_of_a_declared_task_is_made_inside_a_traced_function():
    declared("half-open")
    shapes = jax.eval_shape(lambda key: mw.make("half-open", engine=KinematicEngine).reset(key), jax.random.key(0))
    assert shapes.obs.shape == (39,)


def test_a_declared_task_is_found_by_its_name():
    before = mw.list_tasks()
    spec = declared("half-open")
    declared("another")
    assert mw.list_tasks() == [*before, "half-open", "another"]  # metaworld's order, then that of declaration
    assert resolve("half-open") == (spec,)
    assert spec.description == "Open it a little. Success: at once."
    assert (spec.scene, spec.rand_low, spec.place) == (DRAWER.scene, DRAWER.rand_low, DRAWER.place)
    assert not in_metaworld(spec)
    with pytest.raises(ValueError, match=r"did you mean half-open.*--import FILE.py"):
        resolve("half-opn")


def test_names_suites_and_declarations_mix():
    spec = dataclasses.replace(DRAWER, name="unregistered")
    declared("half-open")
    names = [spec.name for spec in resolve(["MT10", spec, "half-open"])]
    assert names == [*(spec.name for spec in resolve("MT10")), "unregistered", "half-open"]
    assert resolve(spec) == (spec,)
    with pytest.raises(ValueError, match="given twice: drawer-open-v3"):
        resolve(["MT10", DRAWER])
    with pytest.raises(TypeError, match="names or TaskSpecs, got 3"):
        resolve(["reach-v3", 3])  # pyright: ignore[reportArgumentType]


def test_what_like_does_not_pass_on():
    spec = declared("half-open")
    assert (spec.reward_v1, spec.suites) == (None, ())
    with pytest.raises(ValueError, match=r"'half-open' has no reward of version 'v1'.*reward_v1="):
        mw.make("half-open", reward_version="v1")
    assert declared("with-v1", reward_v1=DRAWER.reward_v1).reward_of("v1") is DRAWER.reward_v1


def test_what_like_passes_on():
    obs = jnp.linspace(0.0, 1.0, 39)
    declared("inherits")
    task("same-reward", like="inherits", rand_low=(-0.05, 0.9, 0.0))(DRAWER.reward)  # another task's reward
    (same,) = resolve("same-reward")
    assert (same.reward, same.description, same.rand_low) == (DRAWER.reward, DRAWER.description, (-0.05, 0.9, 0.0))
    script = expert_policy(["drawer-open-v3"])(obs, jnp.int32(0))
    for name in ("inherits", "same-reward"):
        np.testing.assert_array_equal(expert_policy([name])(obs, jnp.int32(0)), script)
    unregistered = dataclasses.replace(DRAWER, name="unregistered")
    task("of-a-spec", like=unregistered)(reward)
    assert resolve("of-a-spec")[0].expert is None


def test_a_declaration_without_a_name_is_refused():
    with pytest.raises(TypeError, match=r'@task\("my-task", ...\); @task stands above reward without parentheses'):
        task(reward)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"a string, as in .*got 3"):
        task(3, like="drawer-open-v3")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="task 'new': reward must be a function, got None"):
        task("new", like="drawer-open-v3")(None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="reward_v1 must be a function, got 2"):
        declared("new", reward_v1=2)
    assert "new" not in mw.list_tasks()


def test_a_rewards_output_is_checked():
    output = RewardOutput(*[0.0] * 7)  # pyright: ignore[reportArgumentType]
    assert check_output("own", output) is output
    with pytest.raises(ValueError, match=r"reward of task 'own': success must have shape \(\), got \(3,\)"):
        check_output("own", output.replace(success=jnp.zeros(3)))
    with pytest.raises(TypeError, match="task 'own' must return a RewardOutput, got float"):
        check_output("own", 1.0)


@pytest.mark.parametrize("given", ["text", None, 1j])
def test_a_reward_is_a_real_number(given):
    output = RewardOutput(given, *[0.0] * 6)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="reward of task 'own': reward must be real numbers"):
        check_output("own", output)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, int])
def test_a_reward_of_another_type_leaves_the_states_theirs(dtype):
    def other(s: RewardInputs) -> RewardOutput:
        """Open it a little."""
        return jax.tree.map(lambda x: jnp.asarray(x, dtype), drawer.drawer_open(s))

    task("other-type", like="drawer-open-v3")(other)
    env = mw.make("other-type", engine=KinematicEngine)
    state = jax.eval_shape(env.reset, jax.random.key(0))
    after = jax.eval_shape(env.step, state, jnp.zeros(4))
    types = [jax.tree.map(lambda x: (x.shape, x.dtype), x) for x in (state, after)]
    assert types[0] == types[1]


# --- placements ---


def placing(**changes):
    def place(rand_vec, settled):
        given = {name: change(rand_vec) for name, change in changes.items()}
        return placement.start(settled, goal=rand_vec[:3], object_init=rand_vec[:3]).replace(**given)

    return place


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("goal", lambda v: v[:1], r"must have shape \(3,\), got \(1,\)"),
        ("goal", lambda v: None, r"must be real numbers of shape \(3,\), got None"),
        ("goal", lambda v: 1j * v, "must be real numbers, got complex64"),
        ("object_init", lambda v: v[None], r"must have shape \(3,\), got \(1, 3\)"),
        ("object_init", lambda v: 0.0, r"must have shape \(3,\), got \(\)"),
        ("prop_pos", lambda v: v[:2], r"must have shape \(3,\), got \(2,\)"),
        ("qpos", lambda v: v, r"must have shape \(19,\), got \(3,\)"),
        ("qvel", lambda v: jnp.zeros(()), r"must have shape \(18,\), got \(\)"),
        ("points_init", lambda v: jnp.zeros((5, 3)), r"must have shape \(2, 3\), got \(5, 3\)"),
        ("points_init", lambda v: jnp.zeros((1, 3)), r"must have shape \(2, 3\), got \(1, 3\)"),
    ],
)
def test_a_placement_is_checked(field, value, reason):
    spec = declared("own", place=placing(**{field: value}), points=(Point("body", "drawer_link"),) * 2)
    with pytest.raises(ValueError, match=rf"`place` of task 'own': {field} {reason}"):
        check_tasks([spec])
    with pytest.raises(ValueError, match=rf"`place` of task 'own': {field} {reason}"):
        jax.eval_shape(placer(spec), jnp.zeros(3), settled_zero(2))


def settled_zero(points: int) -> Settled:
    shapes = {"qpos": 19, "qvel": 18, "qacc_warmstart": 18, "prop_pos": 3, "tcp": 3, "frame": 18}
    return Settled(**{name: jnp.zeros(size) for name, size in shapes.items()}, points=jnp.zeros((points, 3)))


def test_sequences_in_a_placement_are_arrays_of_the_states_float():
    spec = declared("own", place=placing(goal=lambda v: (v[0], 0.7, 0.5), object_init=lambda v: [0, 1, 2]))
    check_tasks([spec])
    placed = jax.eval_shape(placer(spec), jnp.zeros(3), settled_zero(1))
    assert {leaf.dtype for leaf in jax.tree.leaves(placed)} == {jnp.dtype("float32")}
    assert placed.goal.shape == placed.object_init.shape == (3,)


def test_the_check_of_a_placement_is_no_part_of_a_program():
    def checked(rand_vec, settled):
        return check_placement("own", DRAWER.place(rand_vec, settled), 0, settled.qpos.dtype)

    programs = [str(jax.make_jaxpr(place)(jnp.zeros(3), settled_zero(0))) for place in (checked, DRAWER.place)]
    assert programs[0] == programs[1]


def test_a_placement_is_finite():
    at_the_high_bound = placing(goal=lambda v: v / (v - jnp.asarray(DRAWER.rand_high)))
    with pytest.raises(ValueError, match=r"'own' does not fit:\n- place gives goal \[.*inf.*\] at the goal vector"):
        check_tasks([declared("own", place=at_the_high_bound)])
    apart = lambda v, s: placement.start(s, goal=v / jnp.linalg.norm(s.tcp - s.prop_pos), object_init=v)  # noqa: E731
    check_tasks([declared("apart", place=apart, goal_low=(-9.0,) * 3, goal_high=(9.0,) * 3)])


@pytest.mark.parametrize("row", [-1, 3, 1.0, True])
def test_a_row_that_no_part_has_is_refused(row):
    def place(rand_vec, settled):
        placed = placement.start(settled, goal=rand_vec, object_init=rand_vec)
        return placement.set_part_joint(placed, row, 0.7, stop=True)

    with pytest.raises(ValueError, match=rf"'own' .*\n.*row must be an integer from 0 to 2, got {row!r}"):
        check_tasks([declared("own", place=place)])


def test_what_a_scene_lacks_is_not_placed():
    def place(rand_vec, settled):
        placed = placement.put_free_body(DRAWER.place(rand_vec, settled), rand_vec)
        return placement.set_part_joint(placed, 2, 0.7, stop=False)

    with pytest.raises(ValueError, match="does not fit") as caught:
        check_tasks([declared("own", place=place)])
    assert "place moves the free body (put_free_body), and scene sawyer_drawer has none" in str(caught.value)
    assert "sets the joints in the rows [2] (set_part_joint), and scene sawyer_drawer has joints in" in str(
        caught.value
    )
    no_fixture = lambda v, s: placement.set_part_joint(placing()(v, s), 0, 0.7, stop=True)  # noqa: E731
    with pytest.raises(ValueError, match=r"rows \[0\] \(set_part_joint\), and scene sawyer_reach_v3 has no fixture"):
        check_tasks([declared("without", like="reach-v3", place=no_fixture)])


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:task 'own-:UserWarning")  # of goals that are observed elsewhere
def test_metaworlds_own_placements_fit():
    check_tasks([dataclasses.replace(spec, name=f"own-{spec.name}") for spec in resolve("MT50")])


def test_missing_and_wrong_fields_are_named_together():
    with pytest.raises(ValueError, match=r"'new' lacks the fields hand_init, rand_low, .*, place"):
        task("new", scene="sawyer_drawer")(reward)
    with pytest.raises(ValueError, match=r"'new': unknown scene 'sawyer_drawr'; did you mean sawyer_drawer"):
        declared("new", scene="sawyer_drawr")
    with pytest.raises(ValueError, match=r"hand_init must be three numbers, got \(0.0, 1.0\)"):
        declared("new", hand_init=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"rand_low must be as long as rand_high.*; min_separation needs"):
        declared("new", rand_low=(0.0,), min_separation=0.1)
    with pytest.raises(ValueError, match="objects must be at most 2, got 3"):
        declared("new", objects=DRAWER.objects * 3)
    with pytest.raises(ValueError, match=r"expert must be a function \(obs,\) -> action, a task's name or None, got 3"):
        declared("new", expert=3)
    for turned, reason in (
        (Orientation("wxzy"), "convention is zero, identity, wxyz, xyzw, got 'wxzy'"),
        (Orientation("wxyz", "site", "goal"), "'wxyz' is of a body, got 'site'"),
        (Orientation("xyzw"), "'xyzw' is of a body or site or geom, got None"),
    ):
        with pytest.raises(ValueError, match=reason):
            declared("new", objects=(DRAWER.objects[0]._replace(orientation=turned),))
    with pytest.raises(TypeError, match="unexpected keyword argument 'hand_hgh'"):
        declared("new", hand_hgh=(0.0, 1.0, 0.5))
    assert "new" not in mw.list_tasks()


_POINT = Point("body", "drawer_link")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"objects": Observed(_POINT)},
            r"objects must be a tuple of Observed, got one alone: write \(Observed\(...\),\)",
        ),
        ({"points": _POINT}, r"points must be a tuple of Point, got one alone: write \(Point\(...\),\)"),
        ({"objects": (_POINT,)}, r"objects must be a tuple of Observed, got \(Point\("),
        ({"objects": (Observed("body", "drawer_link"),)}, "Observed takes a Point and an Orientation, got 'body'"),
        ({"points": None}, "points must be a tuple of Point, got None"),
        (
            {"points": (_POINT._replace(offset=(0.0, 0.0)),)},
            r"a Point's offset must be three numbers, got \(0.0, 0.0\)",
        ),
        ({"scene": Path("mine.xml")}, r"scene must be the name of .* or SceneSpec\(path\), got .*mine.xml"),
        ({"min_separation": -0.7}, "min_separation must be a finite number >= 0, got -0.7"),
        ({"min_separation": np.nan}, "min_separation must be a finite number >= 0, got nan"),
        ({"separate_from": (0.0, 0.6, 0.02)}, r"separate_from must be two numbers or None, got \(0.0, 0.6, 0.02\)"),
        ({"extra_substeps": -3}, "extra_substeps must be an integer >= 0, got -3"),
        ({"extra_substeps": 2.5}, "extra_substeps must be an integer >= 0, got 2.5"),
        ({"stale_reset": "no"}, "stale_reset must be True or False, got 'no'"),
        ({"rand_high": (np.inf,) * 3}, r"rand_high must be a tuple of finite numbers, got \(inf, inf, inf\)"),
        ({"rand_low": 0.0}, "rand_low must be a tuple of finite numbers, got 0.0"),
        ({"hand_init": None}, "hand_init must be three numbers, got None"),
        ({"hand_init": ("a", "b", "c")}, "hand_init must be three numbers, got"),
        ({"goal_site": 3}, "goal_site must be the name of a site or None, got 3"),
        ({"goal_site_shift": (0.0, 0.08)}, r"goal_site_shift must be three numbers or None, got \(0.0, 0.08\)"),
        ({"suites": (5,)}, r"suites must be a tuple of names, got \(5,\)"),
        ({"suites": None}, "suites must be a tuple of names, got None"),
    ],
)
def test_slips_are_named_with_the_field_and_what_is_allowed(fields, reason):
    with pytest.raises(ValueError, match=f"task 'new': .*{reason}"):
        declared("new", **fields)
    assert "new" not in mw.list_tasks()


def test_sequences_are_taken_as_tuples():
    low, high = np.array(DRAWER.rand_low), jnp.array(DRAWER.rand_high)
    given = {"rand_low": low, "rand_high": high, "hand_init": [0, 0.6, 0.2], "extra_substeps": np.int64(3)}
    spec = declared("lists", objects=list(DRAWER.objects), points=list(DRAWER.points), **given)
    assert (spec.objects, spec.points, spec.rand_low) == (DRAWER.objects, DRAWER.points, DRAWER.rand_low)
    assert repr(spec.hand_init) == "(0.0, 0.6, 0.2)"
    assert spec == declared("lists", objects=DRAWER.objects, **given)  # as a notebook declares it again
    mw.make("lists", engine=KinematicEngine)


def test_a_task_may_observe_no_object():
    env = mw.make(declared("empty-handed", objects=(), stale_reset=False), engine=KinematicEngine)
    assert not np.asarray(jax.jit(env.reset)(jax.random.key(0)).obs)[observation.OBJECT].any()


@pytest.mark.parametrize("name", ["", "two words", "a/b", "a,b", "-v3"])
def test_a_name_must_do_for_files_and_command_lines(name):
    with pytest.raises(ValueError, match="a name is made of letters"):
        declared(name)


@pytest.mark.parametrize("name", ["MT10", "easy", "MT1", "all"])
def test_names_with_another_meaning_are_refused(name):
    with pytest.raises(ValueError, match=r"a suite has this name|has another meaning"):
        declared(name)


def test_a_name_is_declared_once():
    def other(s: RewardInputs) -> RewardOutput:
        return drawer.drawer_open(s)

    declared("half-open")
    with pytest.raises(ValueError, match=r"declared twice: by reward \(.*test_registry.py\) and by .*other"):
        task("half-open", like="reach-v3")(other)
    with pytest.raises(ValueError, match="declared twice"):
        declared("reach-v3")


MODULE = '''
from mjx_metaworld.tasks import drawer, task

@task("rerun", like="drawer-open-v3", rand_low=({low}, 0.9, 0.0))
def rerun(s):
    """Version {low}."""
    return drawer.drawer_open(s)
'''


def run(path: Path, module: str) -> None:
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_same_code_run_again_replaces_its_task(tmp_path):
    first = tmp_path / "mine.py"
    first.write_text(MODULE.format(low=-0.1))
    run(first, "mine")
    (before,) = resolve("rerun")
    first.write_text(MODULE.format(low=-0.05))
    run(first, "__main__")  # the same file, as a script
    (after,) = resolve("rerun")
    assert (before.rand_low[0], after.rand_low[0], after.description) == (-0.1, -0.05, "Version -0.05.")
    cell = tmp_path / "cell.py"  # a notebook's cells are files of their own in one module
    cell.write_text(MODULE.format(low=-0.08))
    run(cell, "__main__")
    assert resolve("rerun")[0].rand_low[0] == -0.08
    run(cell, "elsewhere")
    with pytest.raises(ValueError, match="declared twice"):
        run(first, "third")


# --- suites ---


def test_suites_by_tags_and_by_lists():
    first, second = declared("first", suites=("mine", "both")), declared("second", suites=("both",))
    register_suite("MT11", ["MT10", "first"])
    assert mw.list_suites()[-3:] == ["MT11", "mine", "both"]
    assert resolve("both") == (first, second)
    assert len(resolve("MT11")) == 11
    again = declared("first")  # left both suites; the list goes by the name
    assert resolve("both") == (second,)
    assert resolve("MT11")[-1] is again
    register_suite("MT11", "second")
    assert resolve("MT11") == (second,)


def test_names_of_suites_are_checked():
    declared("first", suites=("mine",))
    for name, reason in (
        ("MT10", "is metaworld's"),
        ("first", "a task has this name"),
        ("mine", "the tasks first join it"),
        ("ML1-test", "another meaning"),
        ("two words", "a name is made of"),
    ):
        with pytest.raises(ValueError, match=reason):
            register_suite(name, ["reach-v3"])
    with pytest.raises(ValueError, match="unknown task or suite 'raech-v3'"):
        register_suite("new", ["raech-v3"])
    with pytest.raises(ValueError, match="takes declared tasks; declare loose with @task"):
        register_suite("new", [dataclasses.replace(DRAWER, name="loose")])
    for tag, reason in (("MT10", "whose tasks are listed"), ("reach-v3", "a task has this name")):
        with pytest.raises(ValueError, match=f"cannot join '{tag}'.*{reason}"):
            declared("second", suites=(tag,))
    with pytest.raises(ValueError, match="suites must be a tuple of names, got 'mine'"):
        declared("second", suites="mine")


def test_listeners_hear_of_every_declaration():
    heard: list[int] = []
    registry.on_change(lambda: heard.append(len(mw.list_tasks()) + len(mw.list_suites())))
    declared("first")
    register_suite("mine", ["first"])
    assert np.diff(heard).tolist() == [1, 1]


# --- goals and experts ---


def test_goals_are_drawn_within_the_tasks_own_bounds():
    spec = declared(
        "far", rand_low=(-0.1, 0.6, 0.0, -0.1, 0.8, 0.0), rand_high=(0.1, 0.7, 0.0, 0.1, 0.9, 0.0), min_separation=0.25
    )
    (vectors,) = mw.goals("far", seed=3)
    assert vectors.shape == (50, 6)
    assert (vectors >= spec.rand_low).all()
    assert (vectors <= spec.rand_high).all()
    assert (np.linalg.norm(vectors[:, :2] - vectors[:, 3:5], axis=1) >= 0.25).all()
    np.testing.assert_array_equal(vectors, mw.goals(spec, seed=3)[0])
    # One generator for the suite: metaworld's goals do not depend on what comes behind them.
    np.testing.assert_array_equal(mw.goals(["reach-v3", "far"], seed=3)[0], mw.goals("reach-v3", seed=3)[0])


def test_a_task_that_accepts_no_goal_is_refused(monkeypatch):
    monkeypatch.setattr(suites, "_MAX_DRAWS", 100)
    near = declared("near", rand_low=(0.0,) * 6, rand_high=(0.1,) * 6, min_separation=1.0)
    for draw in (lambda: mw.goals(near, seed=0), lambda: mw.make(near), lambda: bank.draw_goals(near, 1)):
        with pytest.raises(ValueError, match=r"'near' accepts no goal within its bounds: min_separation is 1\.0"):
            draw()


def test_a_task_whose_resets_may_find_no_goal_is_warned_of():
    reach = resolve("reach-v3")[0]
    far, near = (dataclasses.replace(reach, name="own", min_separation=separation) for separation in (0.33, 0.2))
    with pytest.warns(UserWarning, match=r"'own' accepts 0.0\d+ of .* that a reset draws it accepts none with prob"):
        check_tasks([far])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_tasks([near])


def test_experts_of_ones_own():
    obs = jnp.linspace(0.0, 1.0, 39)
    own = declared("own", expert=lambda obs: jnp.full(4, obs[0] + 0.5))
    declared("borrowed", expert="drawer-open-v3")
    declared("lazy", expert=None)
    np.testing.assert_array_equal(expert_policy([own])(obs, jnp.int32(0)), jnp.full(4, 0.5))
    both = expert_policy(["own", "borrowed"])
    np.testing.assert_array_equal(both(obs, jnp.int32(0)), jnp.full(4, 0.5))
    np.testing.assert_array_equal(both(obs, jnp.int32(1)), expert_policy(["drawer-open-v3"])(obs, jnp.int32(0)))
    with pytest.raises(ValueError, match=r"no scripted policy for lazy; .*expert="):
        expert_policy(["own", "lazy"])
    declared("astray", expert="nope-v3")
    with pytest.raises(ValueError, match="expert of task 'astray' names 'nope-v3', which is no task"):
        expert_policy(["astray"])
    allowed = r"expert must be a function \(obs,\) -> action, a task's name or None: unknown .*'nope-v3'; did you mean"
    with pytest.raises(ValueError, match=allowed):
        mw.make("astray")
    declared("self", expert="self")
    with pytest.raises(ValueError, match="stand for each other"):
        expert_policy(["self"])


def test_what_runs_beside_metaworld_names_the_tasks_that_it_lacks():
    declared("own")
    with pytest.raises(ValueError, match=r"demo compares with metaworld, which has no own\. .*parity --tasks own`"):
        require_metaworld(resolve(["reach-v3", "own"]), "demo")
