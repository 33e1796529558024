"""The one door between JAX and Warp: a batch's arrays in, pictures out, through Warp's own FFI."""

# pyright: reportInvalidTypeForm=false

# Warp reads the annotations of `run` below as types, so they cannot be strings.
import contextlib
import threading
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.processes.programs import keep_no_program
from mjx_metaworld.rendering.device.ending import until_exit
from mjx_metaworld.rendering.device.launch import Picture, bake, draw_batch, load_kernels, new_layers
from mjx_metaworld.rendering.device.structs import Layers, Situation
from mjx_metaworld.rendering.device.upload import Uploaded
from mjx_metaworld.rendering.still import StillCameras
from mjx_metaworld.rendering.tables import MOCAP, DrawTables

if wp.config.log_level == wp.LOG_INFO:  # its default, with which it introduces itself and tells of each load
    wp.config.log_level = wp.LOG_WARNING


def check_device() -> None:
    """Refuse to draw where that cannot work, and compile the kernels, which takes seconds once.

    Raises:
        RuntimeError: if JAX computes on neither a CPU nor an NVIDIA GPU, if Warp finds no CUDA for the latter, or if
            it cannot keep its compiled kernels.
    """
    platform = jax.default_backend()
    if platform not in ("cpu", "gpu", "cuda"):
        raise RuntimeError(
            f"mw.camera draws on CPUs and NVIDIA's GPUs, and JAX computes on {platform!r} here. mw.render draws on the "
            "host; JAX_PLATFORMS=cpu computes on the CPU."
        )
    with _kept_kernels():
        wp.init()
    if platform != "cpu" and wp.get_cuda_device_count() == 0:
        raise RuntimeError(
            "JAX computes on a GPU, but Warp finds no CUDA device: its driver is too old for warp-lang "
            f"{wp.config.version}, or the GPU is not NVIDIA's. mw.render draws on the host."
        )
    with _kept_kernels():
        load_kernels("cpu" if platform == "cpu" else "cuda:0")


@contextlib.contextmanager
def _kept_kernels() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RuntimeError(
            f"Warp cannot keep its compiled kernels in {wp.config.kernel_cache_dir} ({error}); set WARP_CACHE_PATH to "
            "a folder that it can write"
        ) from error


class Bridge:
    """Pictures of a batch, as a function of JAX's arrays.

    Args:
        tables: the scenes.
        cameras: those that stand still, whose pictures of what never moves are drawn once.
        width: pixels.
        height: pixels.
        measured: tell depth and labels, too.
        by_body: labels are bodies; else geoms.
    """

    def __init__(
        self, tables: DrawTables, cameras: StillCameras, width: int, height: int, *, measured: bool, by_body: bool
    ) -> None:
        self._tables, self._cameras = tables, cameras
        self._picture = Picture(width, height, measured=measured, by_body=by_body)
        self._ready: dict[str, tuple[Uploaded, Layers]] = {}
        self._preparing = threading.Lock()
        self._run = wp.jax_callable(
            self._callable(), num_outputs=3, graph_mode=wp.JaxCallableGraphMode.NONE, vmap_method=None
        )

    def __call__(self, *batch: jax.Array) -> list[jax.Array]:
        """Colour (batch, height, width, 3), depth and label of a batch of what `camera.Camera` computes."""
        keep_no_program()  # Warp tells its functions apart by numbers of this process
        count = batch[0].shape[0]
        pixels = (count, self._picture.height, self._picture.width)
        measured = pixels if self._picture.measured else (count, 0, 0)
        return list(self._run(*batch, output_dims={"image": pixels, "depth": measured, "label": measured}))

    def shapes(self, *single: jax.Array) -> list[jax.ShapeDtypeStruct]:
        """Shapes of one environment's results."""
        size = (self._picture.height, self._picture.width)
        measured = size if self._picture.measured else (0, 0)
        return [
            jax.ShapeDtypeStruct((*size, 3), jnp.uint8),
            jax.ShapeDtypeStruct(measured, jnp.float32),
            jax.ShapeDtypeStruct(measured, jnp.int32),
        ]

    def _on(self, device: wp.Device) -> tuple[Uploaded, Layers]:
        """The scenes and their layers on a device; several of JAX's devices may ask at once."""
        with self._preparing:
            if device.alias not in self._ready:
                load_kernels(device.alias)
                uploaded = Uploaded(self._tables, device)
                self._ready[device.alias] = uploaded, self._bake(uploaded, device)
        return self._ready[device.alias]

    def _bake(self, uploaded: Uploaded, device: wp.Device) -> Layers:
        cameras = self._cameras
        index, sources = cameras.layers(self._tables)
        layers = new_layers(self._picture, index, device)
        for layer, (scene, view) in enumerate(sources):

            def one(values: np.ndarray | int, dtype: type) -> wp.array:
                return wp.array(np.asarray(values)[None], dtype=dtype, device=device)

            situation = Situation()
            situation.scene, situation.view = one(scene, wp.int32), one(-1, wp.int32)
            situation.body_pos = one(np.zeros((MOCAP + 1, 3)), wp.vec3)
            situation.body_mat = one(np.tile(np.eye(3), (MOCAP + 1, 1, 1)), wp.mat33)
            situation.camera_pos = one(cameras.pos[scene, view], wp.vec3)
            situation.camera_mat = one(cameras.mat[scene, view], wp.mat33)
            situation.focal = one(cameras.focal[scene, view], wp.float32)
            situation.mark, situation.mark_pos = one(-1, wp.int32), one(np.zeros(3), wp.vec3)
            situation.tint = one(np.ones((1, 3)), wp.vec3)
            bake(self._picture, uploaded.arrays, situation, layers, layer)
        return layers

    @until_exit
    def _draw(self, situation: Situation, image: wp.array, depth: wp.array, label: wp.array) -> None:
        uploaded, layers = self._on(situation.scene.device)
        draw_batch(self._picture, uploaded.arrays, situation, layers, image, depth, label)

    def _callable(self):
        def run(
            scene: wp.array(dtype=wp.int32),
            body_pos: wp.array2d(dtype=wp.vec3),
            body_mat: wp.array2d(dtype=wp.mat33),
            camera_pos: wp.array(dtype=wp.vec3),
            camera_mat: wp.array(dtype=wp.mat33),
            focal: wp.array(dtype=wp.float32),
            mark: wp.array(dtype=wp.int32),
            mark_pos: wp.array(dtype=wp.vec3),
            tint: wp.array2d(dtype=wp.vec3),
            view: wp.array(dtype=wp.int32),
            image: wp.array3d(dtype=wp.vec3ub),
            depth: wp.array3d(dtype=wp.float32),
            label: wp.array3d(dtype=wp.int32),
        ):
            situation = Situation()
            situation.scene, situation.body_pos, situation.body_mat = scene, body_pos, body_mat
            situation.camera_pos, situation.camera_mat, situation.focal = camera_pos, camera_mat, focal
            situation.mark, situation.mark_pos, situation.tint = mark, mark_pos, tint
            situation.view = view
            self._draw(situation, image, depth, label)

        return run
