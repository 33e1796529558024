"""Categorical values: distributions of returns over fixed atoms (Bellemare et al., 2017).

The atoms lie closer together near zero, so that the small returns of a task's beginning are told apart as well as the
large ones of its end. Written out, since rlax, which has the projection, would bring distrax and TensorFlow
Probability.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_UNROLLED = 17  # returns that `project` lets fall at once, so that a GPU has few kernels to start


def make_atoms(count: int, limit: float) -> Float[Array, " atoms"]:
    """Atoms from -limit to limit, at squares of even steps from zero.

    Args:
        count: an odd number, so that zero is one of them.
        limit: the largest.
    """
    share = jnp.linspace(-1.0, 1.0, count)
    return limit * share * jnp.abs(share)


def mean(logits: Float[Array, "... atoms"], atoms: Float[Array, " atoms"]) -> Float[Array, "..."]:
    """Expected return of predicted distributions."""
    return jax.nn.softmax(logits) @ atoms


def smaller(logits: Float[Array, "critics n atoms"], atoms: Float[Array, " atoms"]) -> Float[Array, "n atoms"]:
    """Probabilities that the critic with the smaller mean gives, row by row."""
    pessimist = mean(logits, atoms).argmin(0)
    return jax.nn.softmax(jnp.take_along_axis(logits, pessimist[None, :, None], axis=0)[0])


def project(
    probs: Float[Array, "n returns"], returns: Float[Array, "n returns"], atoms: Float[Array, " atoms"]
) -> Float[Array, "n atoms"]:
    """Distributions over any returns as distributions over the atoms; within their range the mean stays.

    Args:
        probs: of each of the returns.
        returns: in any order; those beyond the outer atoms count as these.
        atoms: in rising order.
    """
    gaps = jnp.diff(atoms)
    below, above = jnp.concatenate([gaps[:1], gaps]), jnp.concatenate([gaps, gaps[-1:]])

    def fall(
        total: Float[Array, "n atoms"], one: tuple[Float[Array, " n"], Float[Array, " n"]]
    ) -> tuple[Float[Array, "n atoms"], None]:
        """Each return falls to its two neighbours: an atom's share of it is a triangle over the gaps at its sides."""
        prob, value = one
        distance = value[:, None] - atoms
        share = 1.0 - jnp.where(distance < 0, -distance / below, distance / above)
        return total + jnp.maximum(share, 0.0) * prob[:, None], None

    # One return after the other: of a sum over an array's last axis XLA makes no vectors on a CPU.
    returns = jnp.clip(returns, atoms[0], atoms[-1])
    nothing = jnp.zeros((len(probs), len(atoms)), probs.dtype)
    return jax.lax.scan(fall, nothing, (probs.T, returns.T), unroll=_UNROLLED)[0]


def cross_entropy(target: Float[Array, "... atoms"], logits: Float[Array, "... atoms"]) -> Float[Array, "..."]:
    """Cross entropy in nats of predicted distributions against target ones."""
    return -(target * jax.nn.log_softmax(logits)).sum(-1)
