"""How many floating-point operations a model needs, by formula: what model FLOP utilisation (MFU) counts.

The convention: one multiply-add is two operations; a training step is forward (1) and backward (2), so three times the
forward pass; only matrix products count; a causal token looks at half the row on average, so attention counts half, and at
fewer where a layer has a window; the embedding look-up is no product, the head is one, tied or not; what rematerialisation
computes again does not count.
"""

from babel_jax.model.decoder import DecoderConfig


def block_parameters(config: DecoderConfig) -> int:
    """Parameters of all blocks' matrices, without biases and norms."""
    # Columns of queries, keys and values, and rows of what attention writes.
    attention = 2 * (config.heads + config.kv_heads) * config.head_width
    ffn = (3 if config.architecture.gated else 2) * config.ffn_width
    return config.layers * config.width * (attention + ffn)


def matmul_parameters(config: DecoderConfig) -> int:
    """Parameters that every token is multiplied with: the block matrices and the head, without biases and look-ups."""
    return block_parameters(config) + config.vocab_size * config.width


def attention_flops(config: DecoderConfig) -> int:
    """Operations of a token's queries with the keys of a full row and of its weights with the values, to train on it.

    2 T N H each a layer, T = `max_length`; forward and backward make 12 T N H. This is the convention of PaLM (arXiv:2204.02311,
    appendix B), for which nothing is masked. Queries that share a key need no fewer.
    """
    return 12 * config.layers * config.max_length * config.heads * config.head_width


def flops_per_token(config: DecoderConfig) -> float:
    """Operations to train on one token of a full row: 6 for each of `matmul_parameters`, and 12 N H in each layer for each of
    `tokens_seen`, which without windows is half of `attention_flops`."""
    windows = config.windows
    kinds = config.architecture.kind_of_layer or (0,) * config.layers
    seen = sum(tokens_seen(config.max_length, windows[kind]) for kind in kinds)
    return 6 * matmul_parameters(config) + 12 * config.heads * config.head_width * seen


def tokens_seen(length: int, window: int) -> float:
    """How many tokens one of a full row sees on average, by the convention that all of them make half a row: W - W^2 / 2 T."""
    reach = min(window or length, length)
    return reach - reach**2 / (2 * length)
