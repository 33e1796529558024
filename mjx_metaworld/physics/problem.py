"""Data of the Newton solver: its problem, the contacts' Jaref and Jv, and its iterates."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mjx_metaworld.physics.config import Execution
from mjx_metaworld.physics.constraint import Constraints
from mjx_metaworld.physics.groups import for_groups
from mjx_metaworld.physics.slices import slice_at, update_at

Array = jax.Array


class Columns(NamedTuple):
    """Jaref, Jv and coefficients of n contacts of R rows each."""

    jaref: Array  # (n, R, L) J qacc - aref
    jv: Array  # (n, R, L) its change along the search direction, where there is one
    d: Array  # (n, L) as in `Constraints`
    mu: Array  # (n, L)
    cone_d: Array  # (n, L) D / (1 + mu^2)

    @classmethod
    def at(cls, jaref: Array, d: Array, mu: Array) -> Columns:
        """Columns of contacts with this Jaref, without a search direction."""
        return cls(jaref, jaref, d, mu, d / (1.0 + mu * mu))

    def side_by_side(self) -> Array:
        """Concatenate into one array (n, 2 R + 3, L), so that a group of contacts is one slice."""
        return jnp.concatenate([self.jaref, self.jv, *(x[:, None] for x in self[2:])], axis=1)


# Columns side by side, or apart where all contacts are worked on at once: then nothing is gained by slicing them
# together, and XLA's GPU backend fuses what writes and reads them.
Kept = Array | Columns


def num_columns(rows: int) -> int:
    """Columns side by side of contacts of so many rows."""
    return 2 * rows + 3


def _rows_of(contacts: Array) -> int:
    """Rows of contacts whose columns stand side by side."""
    return (contacts.shape[1] - 3) // 2


def jaref_of(contacts: Kept) -> Array:
    """Jaref (K, R, L) of all contacts."""
    return contacts.jaref if isinstance(contacts, Columns) else contacts[:, slice(0, _rows_of(contacts))]


def columns_at(contacts: Kept, first: Array | int, size: int) -> Columns:
    """Columns of the group of contacts that starts at a row."""
    if isinstance(contacts, Columns):
        return contacts
    group = slice_at(first, size, contacts)
    rows = _rows_of(contacts)
    columns = slice(0, rows), slice(rows, 2 * rows), 2 * rows, 2 * rows + 1, 2 * rows + 2
    return Columns(*(group[:, column] for column in columns))


def put_jaref(contacts: Kept, jaref: Array, first: Array | int) -> Kept:
    """Contacts with the Jaref of a group replaced."""
    if isinstance(contacts, Columns):
        return contacts._replace(jaref=jaref)
    return update_at(contacts, jaref, first)


def put_jv(contacts: Kept, jv: Array, first: Array | int) -> Kept:
    """Contacts with the Jv of a group replaced."""
    if isinstance(contacts, Columns):
        return contacts._replace(jv=jv)
    return update_at(contacts, jv, first, column=_rows_of(contacts))


class Problem(NamedTuple):
    """The cost of an acceleration, in arrays padded to the 18 dofs."""

    mass: Array  # (18, 18, L)
    qfrc_smooth: Array  # (18, L)
    smooth_hessian: Array  # (18, 18, L) mass matrix plus the weld's J^T D J
    smooth_force: Array  # (18, L) qfrc_smooth plus the weld's J^T D aref
    weld_jac: Array  # (6, 18, L)
    contact_jac: Array  # (..., R, 18, L) of the contacts from row `first_contact` on
    efc: Constraints  # all constraints but the contacts' Jacobian
    first_contact: Array | int
    at_once: int  # contacts in a group

    def of_contacts(self, count: int) -> Problem:
        """Problem with the first `count` contacts alone, where all are one group."""
        efc = self.efc
        efc = efc.replace(
            contact_d=efc.contact_d[:count],
            contact_aref=efc.contact_aref[:count],
            contact_mu=efc.contact_mu[:count],
            num_contacts=jnp.minimum(efc.num_contacts, count),
        )
        return self._replace(contact_jac=self.contact_jac[:count], efc=efc, at_once=count)

    def contact_jac_at(self, first: Array | int) -> Array:
        """(n, R, 18, L) Jacobians of a group of contacts."""
        return slice_at(self.first_contact + first, self.at_once, self.contact_jac)

    def over_contacts(self, execution: Execution, body, start, done: Array | bool = False):
        """Fold `body` over the groups of contacts that some lane needs which is not `done` (L,)."""
        needed = jnp.where(done, 0, self.efc.num_contacts)
        return for_groups(self.efc.contact_d.shape[0], self.at_once, needed, execution, body, start)


class Iterate(NamedTuple):
    """Iterate of the solver."""

    qacc: Array  # (18, L)
    contacts: Kept
    converged: Array  # (L,) bool
    count: Array  # (L,) int32 iterations before that


class SearchDirection(NamedTuple):
    """Newton's direction from an iterate, and what it was made of."""

    limit: Array  # (18, L) residuals of the limits
    smooth_gradient: Array  # (18, L) of the part of the cost that is one quadratic everywhere
    gradient: Array  # (18, L)
    search: Array  # (18, L)
