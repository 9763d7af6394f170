"""What a neuron writes to the residual stream: an amount at each token, times a direction of its own.

An FFN's output is the sum of its neurons' values times their rows of `ffn_out`, plus a bias. It is added to the residual stream
as it is, or through a norm first (`Architecture.output_norms`: OLMo 2, Gemma 2). An RMSNorm multiplies each number of its input
by a scale of its own, which is part of the direction, and the whole by a factor that depends on all neurons together. The
factor is held at its value at the token: amounts times directions then add up to what the FFN writes, and what one neuron
writes does not depend on who else is looked at. That is not what removing the neuron does, which changes the factor, too:
`Edit`s and the gradients of `Edit.watch` go through the norm and take that in.
"""

import jax.numpy as jnp

from babel_jax.common.errors import UserError
from babel_jax.model.architecture import Architecture

# norm -> what it multiplies each number by beside the factor. A LayerNorm first takes away the mean of what all neurons write.
SCALES = {
    "rms": lambda parameters: parameters["scale"],
    "rms_from_one": lambda parameters: 1 + parameters["scale"],
}


def _check(parts: Architecture) -> None:
    """UserError unless each neuron of such a model writes a direction of its own."""
    if parts.output_norms and parts.norm not in SCALES:
        raise UserError(
            f"this model norms what its FFNs write with '{parts.norm}', which mixes neurons, so none writes a direction of its "
            "own; choose a definition of neurons that needs none, such as pls or causal."
        )


def directions(blocks: dict, parts: Architecture):
    """What each neuron adds to the residual stream per unit of its amount, float32 [L, F, D]; of one layer's parameters [F, D].

    `blocks`: the parameters of that name.

    Raises:
      UserError: a norm that mixes neurons.
    """
    _check(parts)
    v_xFxD = blocks["ffn_out"]["kernel"]
    if not parts.output_norms:
        return v_xFxD
    return v_xFxD * SCALES[parts.norm](blocks["ln_2_out"])[..., None, :]


def amounts(taps: dict):
    """How much of its direction each neuron writes at chosen positions, float32 [L, B, P, F].

    `taps`: of a `TapRequest` with `ffn_at_positions` and `middle_at_positions`.
    """
    a_LxBxPxF = taps["ffn_LxBxPxF"].astype(jnp.float32)
    if "write_factor_LxBxP" not in taps:
        return a_LxBxPxF
    return a_LxBxPxF * taps["write_factor_LxBxP"][..., None]
