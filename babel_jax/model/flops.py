"""How many floating-point operations a model needs, by formula: what model FLOP utilisation (MFU) counts.

The convention: one multiply-add is two operations; a training step is forward (1) and backward (2), so three times the
forward pass; only matrix products count; a causal token looks at half the row on average, so attention counts half; the
embedding look-up is no product, the head is one, tied or not; what rematerialisation computes again does not count.
"""

from babel_jax.model.decoder import DecoderConfig


def matmul_parameters(config: DecoderConfig) -> int:
    """Parameters that every token is multiplied with: the block matrices and the head, without biases and look-ups."""
    D, F, L = config.width, config.ffn_width, config.layers
    return L * (4 * D * D + 2 * D * F) + config.vocab_size * D


def attention_flops(config: DecoderConfig) -> int:
    """Operations of a token's queries with the keys of a full row and of its weights with the values, to train on it.

    2 T D each a layer, T = `max_length`; forward and backward make 12 T D. This is the convention of PaLM (arXiv:2204.02311,
    appendix B), for which nothing is masked.
    """
    return 12 * config.layers * config.max_length * config.width


def flops_per_token(config: DecoderConfig) -> float:
    """Operations to train on one token of a full row: 6 N + 6 L T D, N the `matmul_parameters`: of `attention_flops` a causal
    mask leaves half."""
    return 6 * matmul_parameters(config) + attention_flops(config) / 2
