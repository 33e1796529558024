"""The CUDA kernels, run without a GPU: their sources compiled as C++, against MuJoCo C and against XLA's programs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.cuda_on_cpu import COMPILER, run_on_cpu
from support.random_poses import gripper_poses
from support.solver_problems import in_one_tile, recorded, solved

from mjx_metaworld.build.hulls import metaworld_hulls
from mjx_metaworld.physics import solver
from mjx_metaworld.physics.backend import ACCELERATOR, CUDA
from mjx_metaworld.physics.backends.cuda import descent, kernels, newton, nvrtc
from mjx_metaworld.physics.collision import descent as collision_descent
from mjx_metaworld.physics.collision.convex import find_start
from mjx_metaworld.physics.collision.minkowski import TINY, relate
from mjx_metaworld.physics.config import EngineConfig, PhysicsConfig
from mjx_metaworld.physics.stages import stages_of
from mjx_metaworld.physics.tiles import TILES

pytestmark = pytest.mark.ci

compiled = pytest.mark.skipif(not COMPILER, reason="there is no g++ here that knows C++20")


@functools.cache
def problems():
    """MuJoCo's recorded problems as the kernel reads them, with its accelerations, and the solution by XLA."""
    (mass, qfrc_smooth, constraints, warmstart), reference = recorded()

    def prepare(mass, qfrc_smooth, constraints, warmstart):
        jac, efc = constraints.contact_jac, constraints.replace(contact_jac=None)
        problem = solver.prepare(mass, qfrc_smooth, jac, 0, efc, ACCELERATOR)
        return newton.Operands.of(problem, warmstart)

    args = mass, qfrc_smooth, constraints, warmstart
    return newton.Operands(*in_one_tile(prepare, *args)), reference, solved(ACCELERATOR)


@functools.cache
def some_problems():
    """Ninety of them: the last block of environments is not full."""
    return jax.tree.map(lambda x: x[..., np.arange(1, 288, 3)[:90]], problems())


@compiled
def test_the_probe_adds_one(folder):
    """As `kernels.hindrance` expects of it, also where the last block of environments is not full."""
    kernel = kernels.probe_kernel(threads=2)
    x = np.arange(5, dtype=np.float32)
    (found,) = run_on_cpu(kernel, [jax.ShapeDtypeStruct((), np.float32)], [x], folder=folder)
    np.testing.assert_array_equal(found, x + 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the compiled kernels."""
    return tmp_path_factory.mktemp("kernels")


def solve(operands, folder):
    """What `solve_in_kernels` finds, and which environments the first kernel has solved."""
    contacts = len(operands.contact_d)
    results = newton.results_of(contacts)
    first, second = newton.whole_step_kernel(contacts), newton.newton_kernel(contacts, PhysicsConfig())
    *easy, is_solved = run_on_cpu(first, results, operands, folder=folder)
    hard = run_on_cpu(second, results, (*operands, is_solved), folder=folder)
    found = (np.where(is_solved > 0, x, y) for x, y in zip((*easy, is_solved), hard, strict=True))
    return newton.KernelResult(*found), is_solved


@pytest.fixture(scope="module")
def solution(folder):
    """Of some of the problems."""
    return solve(some_problems()[0], folder)


@compiled
def test_accelerations_are_mujocos(solution):
    """The bounds of `test_compaction.py`, whose iterations these are."""
    _, reference, by_xla = some_problems()
    found, first_solved = solution
    error = np.abs(found.qacc - reference) / (1 + np.abs(reference))
    assert np.median(error) < 1e-6
    assert np.quantile(error, 0.99) < 1e-4
    assert error.max() < 2e-3
    assert np.mean(found.count != by_xla.iterations) < 0.03  # some searches end just before or after a tolerance
    assert found.count.max() > 3
    assert 0.3 < first_solved.mean() < 0.9
    np.testing.assert_allclose(found.normal_force, by_xla.contact_normal_force, rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(found.normal_force > 0, by_xla.contact_normal_force > 0)


@compiled
def test_a_lane_without_numbers_spoils_no_neighbour(folder, solution):
    operands = jax.tree.map(np.array, some_problems()[0])
    clean = solution[0].qacc
    operands.qacc_warmstart[:, 5] = np.nan
    spoilt = solve(operands, folder)[0].qacc
    np.testing.assert_array_equal(np.isnan(spoilt).any(0), np.arange(clean.shape[1]) == 5)
    np.testing.assert_array_equal(np.delete(spoilt, 5, axis=1), np.delete(clean, 5, axis=1))


@functools.cache
def descents():
    """A box and a capsule beside each other in the gripper's hull: pairs, where descents start, MuJoCo's distances."""
    poses = [gripper_poses(kind) for kind in ("box", "capsule")]
    shape1, shape2 = (
        jax.tree.map(lambda *x: jnp.concatenate(x, axis=-2), *shapes)
        for shapes in zip(*((p.shape, p.gripper) for p in poses), strict=True)
    )

    @jax.jit
    def begin(shape1, shape2):
        pair = relate(shape1, shape2, metaworld_hulls())
        return pair, collision_descent.resume(pair, find_start(shape1, shape2, metaworld_hulls(), 3))

    return *begin(shape1, shape2), np.stack([p.dist for p in poses])


def descend(steps, again, folder, begun):
    """Where `steps` steps end by the kernel and by XLA."""
    pair = descents()[0]
    body = pair.both
    bodies = body.half, body.disc, body.hulls.row, body.hulls.resolution, pair.pos, pair.mat
    hulls = body.hulls.table
    kernel = descent.kernel_of(hulls, len(begun.depth), steps, again, collision_descent.STAND_OFF, TINY)
    results = [jax.ShapeDtypeStruct(x.shape[:-1], x.dtype) for x in begun]
    table = hulls.candidates.astype(np.float32)
    mine = collision_descent.Descent(*run_on_cpu(kernel, results, (*bodies, *begun), (table,), folder=folder))

    @jax.jit
    def by_xla(begun):
        return jax.lax.fori_loop(
            0, steps, lambda i, s: collision_descent.advance(pair, s, again=again & (i == 0)), begun
        )

    return mine, by_xla(begun)


@compiled
@pytest.mark.parametrize("again", [False, True])
def test_a_step_of_a_descent_is_xlas(folder, again):
    """From random directions, along which no two vertices reach equally far: rounding would choose among them."""
    begun = descents()[1]
    normal = np.random.default_rng(0).normal(size=begun.normal.shape).astype(np.float32)
    begun = begun._replace(normal=normal / np.linalg.norm(normal, axis=0), depth=jnp.full(begun.depth.shape, 0.05))
    mine, xlas = descend(1, again, folder, begun)
    for name in mine._fields:
        assert np.quantile(np.abs(getattr(mine, name) - getattr(xlas, name)), 0.95) < 1e-5, name
    gap, other = (np.linalg.norm(collision_descent.query_of(s) - s.nearest, axis=0) for s in (mine, xlas))
    np.testing.assert_allclose(gap, other, rtol=1e-4, atol=1e-6)


@compiled
def test_descents_end_where_xlas_do(folder):
    """Mostly in the same place; and as near to MuJoCo's depth."""
    pair, begun, truth = descents()
    mine, xlas = descend(4, True, folder, begun)
    assert np.median(np.abs(mine.depth - xlas.depth)) < 1e-7
    assert np.median(np.abs(mine.normal - xlas.normal)) < 1e-6
    balls = pair.both.ball[: len(truth)]
    error, other = (np.abs(-np.asarray(s.depth) - balls - truth) for s in (mine, xlas))
    assert np.median(error) < 1e-4
    assert np.mean(error) < 1.1 * np.mean(other)


def test_elsewhere_xla_solves():
    """The kernels are used for CUDA alone."""
    like = jnp.zeros(3, jnp.float32)
    assert kernels.where_cuda(False, like, lambda: 1, lambda: 2) == 2
    assert kernels.where_cuda(True, jnp.zeros(3, jnp.int32), lambda: 1, lambda: 2) == 2
    if jax.default_backend() == "cpu":
        assert kernels.where_cuda(True, like, lambda: like + 1, lambda: like + 2)[0] == 2


def test_a_call_is_lowered_for_cuda(monkeypatch):
    """What the compiled program is told, with PTX that says what it was compiled with."""
    monkeypatch.setattr(nvrtc, "compile_ptx", lambda source, macros, headers: f"{len(headers)} {dict(macros)['LANES']}")
    operands, *_ = problems()
    kernel = newton.whole_step_kernel(len(operands.contact_d))
    results = [jax.ShapeDtypeStruct((18,), jnp.float32)]
    call = jax.vmap(lambda *x: kernels.call(kernel, results, x)[0])
    tiles = jax.tree.map(lambda x: jnp.stack([x, x]), tuple(operands))
    lowered = jax.jit(call).trace(*tiles).lower(lowering_platforms=("cuda",)).as_text()
    lanes = 2 * operands.num_contacts.shape[0]  # tiles are more lanes
    assert "__gpu$xla.gpu.ptx" in lowered
    assert f"grid_x = {-(-lanes // 32)} : i32" in lowered
    assert f'kernel_data = "1 {lanes}"' in lowered
    assert "output_indices = [11 : i32]" in lowered


def test_what_the_kernels_do_not_take_is_solved_by_xla(monkeypatch):
    """More contacts than fit, or loops that end early, whose rows are those of all tiles."""
    args, _ = recorded()
    wanted = []

    def where_cuda(asked, like, kernel, otherwise):
        wanted.append(bool(asked))
        return otherwise()

    monkeypatch.setattr(kernels, "where_cuda", where_cuda)
    batch = jax.tree.map(lambda x: jnp.asarray(x)[None], args)
    for most in (len(args[2].contact_d), len(args[2].contact_d) - 1):
        monkeypatch.setattr(newton, "MOST_CONTACTS", most)
        solve = functools.partial(newton.solve, config=EngineConfig(execution=CUDA))
        jax.eval_shape(jax.vmap(solve, axis_name=TILES), *batch)
    assert wanted == [True, False]
    assert stages_of(CUDA).solve is newton.solve
    assert stages_of(dataclasses.replace(CUDA, early_exit=True)).solve is solver.solve


def test_without_nvrtc_the_message_says_where_it_comes_from(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(nvrtc.ctypes, "CDLL", missing)
    nvrtc._library.cache_clear()
    try:
        assert not nvrtc.is_there()
        with pytest.raises(nvrtc.CompileError, match=r"jax\[cuda13\]"):
            nvrtc.compile_ptx("not even compiled", ())
    finally:
        nvrtc._library.cache_clear()
