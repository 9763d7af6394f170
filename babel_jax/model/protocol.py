"""What probes, interventions and generation ask of a model: `Model`. Our decoder (`DecoderConfig`) is one, see `decoder.py`.

A model is a description of shapes with functions of parameters: it holds none itself, so that one executable serves all
checkpoints. `probes/README.md` shows two that are not ours. Letters as in `model/decoder.py`; S positions of a cache.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax.numpy as jnp
from jax.sharding import Mesh

from babel_jax.common.errors import UserError
from babel_jax.model.taps import NOTHING, Inside, at_positions


class Model(Protocol):
    """A causal decoder whose blocks each hold one FFN. To bring one, inherit, give the attributes, `forward` and `readout`.

    An instance is hashed (a frozen dataclass will do): passes are compiled once for equal ones. Parameters are a tree of arrays.

    Attributes:
      layers, width, ffn_width: L, D, F.
      vocab_size: V.
      max_length: the most positions that it reads.
    """

    layers: int
    width: int
    ffn_width: int
    vocab_size: int
    max_length: int

    def forward(self, params, tokens_BxT, segment_BxT, inside: Inside = NOTHING) -> tuple[Any, dict]:
        """The residual stream after the last block, before the last norm, [B, T, D], and the taps that `inside` asks for.

        `inside.through` makes the taps and the edits: a block calls `hook.neurons` once.

        Args:
          segment_BxT: document number of each token; tokens see their own document only.
        """
        ...

    def readout(self, params, mesh: Mesh | None = None) -> Callable:
        """The function from any residual stream h [..., D] to logits [..., V] in float32: last norm, head, cap.

        What need not be done once a layer is done before, such as bringing the head together from the devices of `mesh`.
        """
        ...

    def directions(self, params, layer):
        """What each neuron of a layer (a traced number) adds to the residual stream per unit of its value, float32 [F, D].

        Only Transfer Neurons (`centroid.py`) ask for it; of most models it is the FFN's last matrix.
        """
        raise UserError(
            f"{type(self).__name__} does not say what its neurons write; give it `directions`, or choose a definition of neurons "
            "that needs none, such as pls or causal."
        )

    # ---- Generation. By default each step reads all tokens again: right for any model, slow for a long text. ----

    def weights(self, params, mesh: Mesh | None = None, scanned: bool = False):
        """The parameters as `advance` and `readout` read them, made once for many tokens.

        Args:
          scanned: for few tokens: one program for all layers, where the model has one, which is compiled sooner.
        """
        return params

    def empty_cache(self, batch: int, length: int, mesh: Mesh | None = None, scanned: bool = False):
        """What is kept of earlier tokens: a tree of arrays [B, heads, S, …], rows first, positions third.

        Args:
          scanned: it goes with such weights; its arrays may then have a leading axis L.
        """
        return jnp.zeros((batch, 1, length, 1), jnp.int32)

    def advance(self, weights, cache, tokens_BxT, position_BxT, inside: Inside = NOTHING) -> tuple[Any, Any]:
        """Reads further tokens: the cache with them, and the residual stream after the last block, [B, T, D].

        Args:
          position_BxT: where each token stands in its row; beyond the cache it is padding, and dropped.
          inside: its `request` is not looked at, and its `edit` is one of values of neurons.
        """
        token_BxS = cache[:, 0, :, 0]
        token_BxS = token_BxS.at[jnp.arange(len(token_BxS))[:, None], position_BxT].set(tokens_BxT, mode="drop")
        final_BxSxD, _ = self.forward(weights, token_BxS, jnp.zeros_like(token_BxS), inside)
        inside_BxT = jnp.minimum(position_BxT, token_BxS.shape[1] - 1)
        return token_BxS[:, None, :, None], at_positions(final_BxSxD, inside_BxT)
