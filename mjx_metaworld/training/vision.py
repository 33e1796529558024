"""Network of a policy that sees: filters that find points in the pictures, and an MLP on where these are.

One convolution is enough for marks of a few pixels, and its gradient costs less than to draw the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, UInt8

from mjx_metaworld.training.networks import TaskHead, Torso

_COVERED, _STRIDE = 6, 2  # pixels of a filter, and between two of its places
_SHARPNESS = 3.0  # of a softmax over a picture, at first: few places count, so that a point moves with what it marks
_MIN_STD = 1e-3  # of a filter's answers over a picture


class Keypoints(nn.Module):
    """Points of a picture: the centre of mass of each filter's softmax over the picture (Levine et al., 2016).

    Such a point moves by parts of a pixel, and says nothing but where something is.

    Attributes:
        channels: filters, then features that are made of theirs at each place; there are as many points as of the last.
    """

    channels: Sequence[int]

    @nn.compact
    def __call__(self, picture: UInt8[Array, "n size size 3"]) -> Float[Array, "n coordinates"]:
        """Coordinates x and y of all points, each in [-1, 1]."""
        x = picture.astype(jnp.float32) / 255.0 - 0.5
        first, *later = self.channels
        x = nn.Conv(first, (_COVERED, _COVERED), strides=_STRIDE)(x)
        for width in later:
            x = nn.Dense(width)(nn.relu(x))
        rows, columns = x.shape[1:3]
        x = x.reshape(-1, rows * columns, x.shape[-1])
        x = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + _MIN_STD)
        sharpness = self.param("sharpness", nn.initializers.constant(_SHARPNESS), x.shape[-1:])
        weight = nn.softmax(sharpness * x, axis=1)
        places = jnp.meshgrid(jnp.linspace(-1, 1, rows), jnp.linspace(-1, 1, columns), indexing="ij")
        points = jnp.einsum("nsp,sc->npc", weight, jnp.stack([p.reshape(-1) for p in places[::-1]], axis=-1))
        return points.astype(jnp.float32).reshape(points.shape[0], -1)


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
