"""A model some of whose neurons are changed in every pass: a `Model` like any other, so that it is probed, and writes, as one.

The change is data beside the parameters: one executable serves all sets of neurons.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from babel_jax.common.errors import UserError
from babel_jax.model.protocol import Model
from babel_jax.model.taps import NOTHING, Edit, Inside

ALWAYS = ("multiply_LxF", "add_LxF")  # the fields of an edit that hold for any tokens


class EditedParams(NamedTuple):
    """The parameters, and what is changed: an `Edit` of the fields `ALWAYS`."""

    params: Any
    edit: Edit


@dataclasses.dataclass(frozen=True)
class Edited(Model):
    """`model` with the change that stands in the parameters, which are `EditedParams`."""

    model: Model

    def __getattr__(self, name: str):
        if name == "model":  # before there is one, as while it is copied
            raise AttributeError(name)
        return getattr(self.model, name)  # its shapes

    def forward(self, params: EditedParams, tokens_BxT, segment_BxT, inside: Inside = NOTHING):
        return self.model.forward(params.params, tokens_BxT, segment_BxT, _inside(params, inside))

    def readout(self, params: EditedParams, mesh: Mesh | None = None):
        return self.model.readout(params.params, mesh)

    def directions(self, params: EditedParams, layer):
        return self.model.directions(params.params, layer)

    def weights(self, params: EditedParams, mesh: Mesh | None = None, scanned: bool = False) -> EditedParams:
        return params._replace(params=self.model.weights(params.params, mesh, scanned))

    def empty_cache(self, batch: int, length: int, mesh: Mesh | None = None, scanned: bool = False):
        return self.model.empty_cache(batch, length, mesh, scanned)

    def advance(self, weights: EditedParams, cache, tokens_BxT, position_BxT, inside: Inside = NOTHING):
        return self.model.advance(weights.params, cache, tokens_BxT, position_BxT, _inside(weights, inside))


def edited(model: Model, params, edit: Edit) -> tuple[Model, EditedParams]:
    """A model and its parameters with a change of neurons; of one that is changed already, with both changes.

    Raises:
      UserError: a change of single rows or tokens.
    """
    if idle := [name for name, value in vars(edit).items() if value is not None and name not in ALWAYS]:
        raise UserError(
            f"a model cannot be changed by {' and '.join(idle)}, which are of one batch; see interventions.py."
        )
    if isinstance(params, EditedParams):
        return model, params._replace(edit=_both(params.edit, edit))
    return Edited(model), EditedParams(params, edit)


def _inside(params: EditedParams, inside: Inside) -> Inside:
    """What is asked for, with the model's own change before the one that is asked for."""
    edit = params.edit if inside.edit is None else _both(params.edit, inside.edit)
    return dataclasses.replace(inside, edit=edit)


def _both(first: Edit, second: Edit) -> Edit:
    """`second` behind `first`: a value a becomes (a m + b) M + B. What else `second` changes, it changes as before."""
    if second.where_BxT is not None:
        raise UserError("a changed model cannot be changed further at some tokens alone; make both changes one edit.")
    m, b, M, B = (
        jnp.float32(default) if value is None else jnp.asarray(value, jnp.float32)
        for edit in (first, second)
        for value, default in ((edit.multiply_LxF, 1), (edit.add_LxF, 0))
    )
    return dataclasses.replace(second, multiply_LxF=m * M, add_LxF=b * M + B)
