"""A small decoder of every family: two queries share a key, heads are wider than they need be, rows outgrow their windows."""

import dataclasses

from babel_jax.model.architecture import Architecture
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families.catalogue import BY_TYPE

WINDOW = 5


def narrow(architecture: Architecture) -> Architecture:
    """Layers that have a window have one of five tokens."""
    kinds = tuple(dataclasses.replace(kind, window=min(kind.window, WINDOW)) for kind in architecture.kinds)
    return dataclasses.replace(architecture, kinds=kinds)


def small(family: str, **changes) -> DecoderConfig:
    shape = dict(vocab_size=48, width=16, layers=4, heads=4, ffn_width=24, max_length=12, tied_head=False) | changes
    head_width = shape.pop("head_width", 8)
    architecture = narrow(BY_TYPE[family].scratch(shape["width"], head_width, shape["layers"]))
    if not architecture.fused_qkv:  # one matrix for all three has room for neither
        shape = dict(kv_heads=2, head_width=head_width) | shape
    return DecoderConfig(**shape, architecture=architecture)


SMALL_ONES = {family: small(family) for family in BY_TYPE}
