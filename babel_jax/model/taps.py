"""What a forward pass returns of its inside (`TapRequest`) and what is changed there (`Edit`): data, so that one executable
serves all of them. Letters as in `model/decoder.py`."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

# When a neuron is active. A neuron's value is what the FFN's last matrix reads: its activation, times its input where the FFN is
# gated. "activation" is LAPE's reading (arXiv:2402.16438): the activation is positive, which is to say that what the activation
# function is applied to is (of a gated FFN, the gate): all of `architecture.ACTIVATIONS` have the sign of their input, though
# silu and gelu fall before they rise. One that is positive for some negative inputs as well (xIELU, arXiv:2411.13010) needs a
# rule of its own. "value": the value is positive; without a gate the two are the same.
ACTIVE = ("activation", "value")


@dataclasses.dataclass(frozen=True)
class TapRequest:
    """What a forward pass is to return besides its output. The arrays are data; which of them are None is static.

    Attributes:
      weight_BxTxK: 0/1 (or any weight) of each token for each language: asks for `active_LxFxK`, the weighted number of
        tokens at which a neuron is active (LAPE's count), and `activation_sum_LxFxK`, the sum of its values.
      positions_BxP: positions per row: asks for the residual stream there, `residual_LxBxPxD` after each block and
        `embedded_BxPxD` before the first.
      sentence_BxT: weight of each token: asks for `sentence_LxBxD`, the weighted mean of the residual stream after each block.
      ffn_at_positions: also return the neurons' values `ffn_LxBxPxF` at those positions.
      middle_at_positions: also return `middle_LxBxPxD`, the residual stream that the FFN reads, `before_write_LxBxPxD`, the one
        that what it writes is added to (another one where the halves of a block are parallel), and, of a model that norms what
        an FFN writes, `write_factor_LxBxP`: what this norm multiplies it by at the position, besides its scale.
      active: when a neuron counts as active, one of `ACTIVE`.
    """

    weight_BxTxK: Any = None
    positions_BxP: Any = None
    sentence_BxT: Any = None
    ffn_at_positions: bool = False
    middle_at_positions: bool = False
    active: str = "activation"


jax.tree_util.register_dataclass(
    TapRequest,
    data_fields=["weight_BxTxK", "positions_BxP", "sentence_BxT"],
    meta_fields=["ffn_at_positions", "middle_at_positions", "active"],
)


@dataclasses.dataclass(frozen=True)
class Edit:
    """What is changed inside a forward pass. All is data, so that one executable serves all sets of neurons.

    Attributes:
      multiply_LxF, add_LxF: the value a of a neuron (what the FFN's last matrix reads) becomes a * multiply + add.
      swap_LxF, source_B: where true, a first becomes the value in row `source_B[b]` of the batch at the same position.
      where_BxT: the tokens at which the three above hold; None: all.
      positions_BxP, residual_LxBxPxD, replace_LxBxP: where `replace` is true, the residual stream after block l at that
        position becomes `residual`.
      watch_LxFxKx2, watch_BxTxK: changes nothing; the gradient with respect to the former, all zeros, is the sum over tokens
        of watch_BxTxK * |a * dL/da| ([..., 0]) and of watch_BxTxK * a * dL/da ([..., 1]), with no array of all activations.
    """

    multiply_LxF: Any = None
    add_LxF: Any = None
    swap_LxF: Any = None
    source_B: Any = None
    where_BxT: Any = None
    positions_BxP: Any = None
    residual_LxBxPxD: Any = None
    replace_LxBxP: Any = None
    watch_LxFxKx2: Any = None
    watch_BxTxK: Any = None

    def by_layer(self) -> dict:
        """The fields that the scan over layers cuts into layers."""
        return {name: value for name, value in vars(self).items() if "_L" in name}

    def shared(self) -> dict:
        return {name: value for name, value in vars(self).items() if "_L" not in name}


jax.tree_util.register_dataclass(Edit, data_fields=[field.name for field in dataclasses.fields(Edit)], meta_fields=[])


def at_positions(x_BxTxC, positions_BxP):
    """Gathers chosen positions of each row: [B, P, C]."""
    return jnp.take_along_axis(x_BxTxC, positions_BxP[:, :, None], axis=1)


@jax.custom_vjp
def _watched(a_BxTxF, watch_FxKx2, weight_BxTxK):
    return a_BxTxF


def _watched_backward(kept, d_BxTxF):
    a_BxTxF, weight_BxTxK = kept
    product_BxTxF = a_BxTxF.astype(jnp.float32) * d_BxTxF.astype(jnp.float32)
    sums = [
        jnp.einsum("btk,btf->bfk", weight_BxTxK, x_BxTxF).sum(axis=0)
        for x_BxTxF in (jnp.abs(product_BxTxF), product_BxTxF)
    ]
    return d_BxTxF, jnp.stack(sums, axis=-1), jnp.zeros_like(weight_BxTxK)


_watched.defvjp(lambda a_BxTxF, _, weight_BxTxK: (a_BxTxF, (a_BxTxF, weight_BxTxK)), _watched_backward)


def edit_ffn(edit: dict, a_BxTxF):
    edited_BxTxF = a_BxTxF
    if edit.get("swap_LxF") is not None:
        edited_BxTxF = jnp.where(edit["swap_LxF"], a_BxTxF[edit["source_B"]], a_BxTxF)
    if edit.get("multiply_LxF") is not None:
        edited_BxTxF = edited_BxTxF * edit["multiply_LxF"].astype(a_BxTxF.dtype)
    if edit.get("add_LxF") is not None:
        edited_BxTxF = edited_BxTxF + edit["add_LxF"].astype(a_BxTxF.dtype)
    if edit.get("where_BxT") is not None:
        edited_BxTxF = jnp.where(edit["where_BxT"][:, :, None], edited_BxTxF, a_BxTxF)
    if edit.get("watch_LxFxKx2") is not None:
        edited_BxTxF = _watched(edited_BxTxF, edit["watch_LxFxKx2"], edit["watch_BxTxK"].astype(jnp.float32))
    return edited_BxTxF


def edit_residual(edit: dict, h_BxTxD):
    if edit.get("replace_LxBxP") is None:
        return h_BxTxD
    B, T, _ = h_BxTxD.shape
    place_BxP = jnp.where(edit["replace_LxBxP"], edit["positions_BxP"], T)  # T lies outside: dropped
    return h_BxTxD.at[jnp.arange(B)[:, None], place_BxP].set(
        edit["residual_LxBxPxD"].astype(h_BxTxD.dtype), mode="drop"
    )


class Seen(NamedTuple):
    """What a block has computed of its FFN: what it reads, what its output is added to, its neurons before the activation
    function, their values, and what the norm of its output multiplies by (None: there is none)."""

    middle_BxTxD: Any
    before_write_BxTxD: Any
    z_BxTxF: Any
    a_BxTxF: Any
    factor_BxTx1: Any


def reduce_taps(request: TapRequest | None, h_BxTxD, seen: Seen) -> dict:
    taps, (middle_BxTxD, before_write_BxTxD, z_BxTxF, a_BxTxF, factor_BxTx1) = {}, seen
    if request is None:
        return taps
    if request.weight_BxTxK is not None:
        weight_BxTxK = request.weight_BxTxK.astype(jnp.float32)
        # A dot with the mask is as cheap as the comparison; exact in float32 while a batch holds fewer than 2^24 tokens.
        # Row by row first: one dot over B x T would transpose all activations (on CPU 1.7x a whole forward pass).
        active_BxTxF = (z_BxTxF if request.active == "activation" else a_BxTxF) > 0
        for name, x_BxTxF in (("active_LxFxK", active_BxTxF), ("activation_sum_LxFxK", a_BxTxF)):
            per_row_BxKxF = jnp.einsum("btk,btf->bkf", weight_BxTxK, x_BxTxF.astype(jnp.float32))
            taps[name] = per_row_BxKxF.sum(axis=0).T
    if request.positions_BxP is not None:
        taps["residual_LxBxPxD"] = at_positions(h_BxTxD, request.positions_BxP)
        if request.ffn_at_positions:
            taps["ffn_LxBxPxF"] = at_positions(a_BxTxF, request.positions_BxP)
        if request.middle_at_positions:
            taps["middle_LxBxPxD"] = at_positions(middle_BxTxD, request.positions_BxP)
            taps["before_write_LxBxPxD"] = at_positions(before_write_BxTxD, request.positions_BxP)
            if factor_BxTx1 is not None:
                taps["write_factor_LxBxP"] = at_positions(factor_BxTx1, request.positions_BxP)[:, :, 0]
    if request.sentence_BxT is not None:
        weight_BxT = request.sentence_BxT.astype(jnp.float32)
        sum_BxD = jnp.einsum("bt,btd->bd", weight_BxT, h_BxTxD.astype(jnp.float32))
        taps["sentence_LxBxD"] = sum_BxD / jnp.maximum(weight_BxT.sum(axis=1, keepdims=True), 1e-30)
    return taps


class Hook:
    """What a block of any model is given by `Inside.through`, to call `neurons` once."""

    def __init__(self, edit: dict, request: TapRequest | None):
        self._edit, self._request, self._seen = edit, request, None

    def neurons(self, middle_BxTxD, z_BxTxF, a_BxTxF, before_write_BxTxD=None):
        """The values that the FFN's last matrix is to read, [B, T, F]: `a_BxTxF`, edited.

        Args:
          middle_BxTxD: the residual stream that the FFN reads (its norm is the block's own business).
          z_BxTxF: what the activation function is applied to (of a gated FFN, the gate): positive where a neuron is active.
          a_BxTxF: the values: of an ungated FFN act(z), of a gated one act(z) times its input.
          before_write_BxTxD: what the FFN's output is added to, where that is not `middle_BxTxD` (parallel halves).
        """
        before_write_BxTxD = middle_BxTxD if before_write_BxTxD is None else before_write_BxTxD
        a_BxTxF = edit_ffn(self._edit, a_BxTxF)
        self._seen = Seen(middle_BxTxD, before_write_BxTxD, z_BxTxF, a_BxTxF, None)
        return a_BxTxF

    def leave(self, h_BxTxD) -> tuple:
        """The residual stream after the block, edited, and the block's taps."""
        if self._seen is None:
            raise TypeError("the block has not called `hook.neurons`, so there is nothing to tap; call it once.")
        h_BxTxD = edit_residual(self._edit, h_BxTxD)
        return h_BxTxD, reduce_taps(self._request, h_BxTxD, self._seen)


@dataclasses.dataclass(frozen=True)
class Inside:
    """What one forward pass is asked for inside: what to return, what to change, and the mesh, which a model may ignore."""

    request: TapRequest | None = None
    edit: Edit | None = None
    mesh: Mesh | None = None

    def edits(self) -> tuple[dict, dict]:
        """The edit as the scan over layers cuts it into layers, and the rest of it."""
        return (self.edit.by_layer(), self.edit.shared()) if self.edit else ({}, {})

    def through(self, block: Callable, h_BxTxD, layers) -> tuple:
        """Runs the blocks of any model one after another: (the residual stream after the last one, the taps).

        Args:
          block: `(h_BxTxD, weights, hook) -> h_BxTxD`, which calls `hook.neurons` once.
          h_BxTxD: before the first block.
          layers: the blocks' weights: a list, which is gone through as it stands, or a tree of arrays with a leading axis L,
            which is scanned.
        """
        by_layer, shared = self.edits()

        def one(h_BxTxD, layer):
            weights, own = layer
            hook = Hook(own | shared, self.request)
            return hook.leave(block(h_BxTxD, weights, hook))

        embedded_BxTxD = h_BxTxD
        if isinstance(layers, (list, tuple)):
            taps_L = []
            for index, weights in enumerate(layers):
                own = jax.tree.map(lambda leaf, index=index: leaf[index], by_layer)
                h_BxTxD, taps = one(h_BxTxD, (weights, own))
                taps_L.append(taps)
            taps = jax.tree.map(lambda *leaves: jnp.stack(leaves), *taps_L)
        else:
            h_BxTxD, taps = jax.lax.scan(one, h_BxTxD, (layers, by_layer))
        if self.request is not None and self.request.positions_BxP is not None:
            taps["embedded_BxPxD"] = at_positions(embedded_BxTxD, self.request.positions_BxP)
        return h_BxTxD, taps


NOTHING = Inside()
