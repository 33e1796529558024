"""Network of a policy that sees: filters that find points in the pictures, and an MLP on where these are.

One convolution is enough for marks of a few pixels. It is written as a product of matrices, of all patches with all
filters: within loops XLA computes a convolution several times slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, UInt8

from mjx_metaworld.training.networks import TaskHead, Torso

_STRIDE = 2  # pixels between two patches
_REACH = 1  # blocks of a stride's pixels that a patch covers in each direction beyond its own: 6 x 6 pixels in all
_SHARPNESS = 3.0  # of a softmax over a picture, at first: few places count, so that a point moves with what it marks
_MIN_STD = 1e-3  # of a filter's answers over a picture


class Keypoints(nn.Module):
    """Points of a picture: the centre of mass of each filter's softmax over the picture (Levine et al., 2016).

    Such a point moves by parts of a pixel, and says nothing but where something is.

    Attributes:
        channels: features of each place of the picture; the last has as many points.
    """

    channels: Sequence[int]

    @nn.compact
    def __call__(self, picture: UInt8[Array, "n size size 3"]) -> Float[Array, "n coordinates"]:
        """Coordinates x and y of all points, each in [-1, 1]."""
        x = patches(picture.astype(jnp.float32) / 255.0 - 0.5)
        *hidden, last = self.channels
        for width in hidden:
            x = nn.relu(nn.Dense(width)(x))
        x = nn.Dense(last)(x)
        rows, columns = x.shape[1:3]
        x = x.reshape(-1, rows * columns, last)
        x = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + _MIN_STD)
        sharpness = self.param("sharpness", nn.initializers.constant(_SHARPNESS), (last,))
        weight = nn.softmax(sharpness * x, axis=1)
        places = jnp.meshgrid(jnp.linspace(-1, 1, rows), jnp.linspace(-1, 1, columns), indexing="ij")
        points = jnp.einsum("nsp,sc->npc", weight, jnp.stack([p.reshape(-1) for p in places[::-1]], axis=-1))
        return points.astype(jnp.float32).reshape(points.shape[0], -1)


def patches(picture: Float[Array, "n size size colors"]) -> Float[Array, "n places places values"]:
    """Pixels that a strided convolution's filters cover at each place; grey beyond the picture's edge."""
    n, size, _, colors = picture.shape
    places = size // _STRIDE
    blocks = picture[:, : places * _STRIDE, : places * _STRIDE].reshape(n, places, _STRIDE, places, _STRIDE, colors)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, places, places, -1)
    padded = jnp.pad(blocks, ((0, 0), (_REACH, _REACH), (_REACH, _REACH), (0, 0)))
    shifts = range(2 * _REACH + 1)
    return jnp.concatenate([padded[:, i : i + places, j : j + places] for i in shifts for j in shifts], axis=-1)


class SeeingActor(nn.Module):
    """A deterministic action in [-1, 1] from a view.

    Attributes:
        channels: features of each place of a picture, of a camera's own.
        hidden: widths of the layers behind the points.
        action_size: number of outputs.
        num_tasks: number of heads.
    """

    channels: Sequence[int]
    hidden: Sequence[int]
    action_size: int
    num_tasks: int

    @nn.compact
    def __call__(
        self,
        pictures: UInt8[Array, "n cameras size size 3"],
        hand: Float[Array, "n hand"],
        task: Int[Array, " n"],
    ) -> Float[Array, "n action"]:
        """The action of each row; the hand comes standardised."""
        points = [Keypoints(self.channels)(pictures[:, i]) for i in range(pictures.shape[1])]
        features = jnp.concatenate([*points, hand.astype(jnp.float32)], axis=-1)
        features = Torso(self.hidden, nn.relu)(features)
        return nn.tanh(TaskHead(self.action_size, self.num_tasks, scale=0.01)(features, task))
