"""The record of a family: layouts that are views, tables that leave out nothing."""

import dataclasses

import numpy as np
import pytest
from helpers import SMALL

from babel_jax.model.architecture import Architecture
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import family, llama
from babel_jax.model.families.family import FUSED_BY_HEAD, HEADS, PLAIN, TRANSPOSED

CONFIG = DecoderConfig(48, 7, 2, 3, 32, 12, head_width=5, architecture=Architecture(fused_qkv=False))
D, N, H = 7, 3, 5


def rows(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    "layout, theirs, ours",
    [
        (PLAIN, (11, D), [(11, D)]),
        (TRANSPOSED, (11, D), [(D, 11)]),
        (TRANSPOSED, (11,), [(11,)]),
        (HEADS, (N * H, D), [(D, N, H)]),
        (HEADS, (N * H,), [(N, H)]),
        (FUSED_BY_HEAD, (3 * N * H, D), 3 * [(D, N, H)]),
        (FUSED_BY_HEAD, (3 * N * H,), 3 * [(N, H)]),
    ],
)
def test_a_layout_splits_into_views_and_joins_them_again(layout, theirs, ours):
    array = rows(*theirs)
    parts = layout.split(array, CONFIG)
    assert [part.shape for part in parts] == ours and layout.shape(*ours) == theirs
    assert all(np.shares_memory(part, array) for part in parts)
    assert np.array_equal(layout.join(*parts), array)


def test_heads_are_where_attention_looks_for_them():
    """transformers: x W^T, of which head n has the numbers from n H on; GPT-NeoX: [3 H] a head, its query first."""
    x_D, w = np.random.default_rng(0).normal(size=D), rows(N * H, D)
    (ours,) = HEADS.split(w, CONFIG)
    np.testing.assert_allclose(np.einsum("d,dnh->nh", x_D, ours), (w @ x_D).reshape(N, H))
    w = rows(3 * N * H, D)
    theirs_NxQxH = (w @ x_D).reshape(N, 3, H)
    for part, ours in enumerate(FUSED_BY_HEAD.split(w, CONFIG)):
        np.testing.assert_allclose(np.einsum("d,dnh->nh", x_D, ours), theirs_NxQxH[:, part])


def test_a_table_that_forgets_a_parameter_is_a_mistake_of_ours():
    short = dataclasses.replace(llama.LLAMA, rows=llama.ROWS[:-2])
    _, config = "llama", dataclasses.replace(SMALL, architecture=llama.LLAMA.scratch(16, 4, 2))
    with pytest.raises(ValueError, match="the table of llama has no row for head, ln_f_scale"):
        short.tensors(config)
    assert len(llama.LLAMA.tensors(config)) == len(llama.ROWS)


def test_names_count_layers():
    config = dataclasses.replace(SMALL, architecture=llama.LLAMA.scratch(16, 4, 2), frozen_rows=3)
    tensors = {tensor.ours: tensor for tensor in llama.LLAMA.tensors(config)}
    assert tensors["head",].names(2) == ["lm_head.weight"]
    assert tensors["blocks/q/kernel",].names(2) == [f"model.layers.{layer}.self_attn.q_proj.weight" for layer in (0, 1)]
    assert tensors["embed_table",].shape == (SMALL.vocab_size, SMALL.width)
    biased = dataclasses.replace(config, architecture=dataclasses.replace(config.architecture, qkv_bias=True))
    assert {tensor.theirs for tensor in llama.LLAMA.tensors(biased)} > {"model.layers.{layer}.self_attn.v_proj.bias"}
    assert family.leaf_shapes(biased)["blocks/v/bias"] == (2, 4, 4)
