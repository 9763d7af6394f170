"""MaxText's layout, read back by Orbax alone: names, shapes, and that its attention gives the scores of ours."""

import dataclasses
import json

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from helpers import SMALL, loud

from babel_jax.common.errors import UserError
from babel_jax.model import maxtext
from babel_jax.model.architecture import LayerKind, Rope, turn
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue

pytestmark = pytest.mark.filterwarnings("ignore:Sharding info not provided")
D, N, M, H, L, F, V = 24, 4, 2, 6, 3, 40, 32


def model(family="llama", **changes):
    architecture = catalogue.family_of(family).scratch(D, H, L)
    sizes = dict(vocab_size=V, width=D, layers=L, heads=N, kv_heads=M, head_width=H, ffn_width=F, max_length=16)
    return DecoderConfig(**sizes | dict(tied_head=False, architecture=architecture) | changes)


def with_rope(rope, config):
    parts = dataclasses.replace(config.architecture, kinds=(LayerKind(0, rope),))
    return dataclasses.replace(config, architecture=parts)


def read(directory):
    """As anyone reads it: by Orbax, without this package."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        stored = checkpointer.restore(directory / "0" / "items")
    assert stored.keys() == {"params"} and stored["params"].keys() == {"params"}
    return stored["params"]["params"]


def test_names_and_shapes_are_maxtexts(tmp_path):
    maxtext.write(tmp_path, model(), loud(model()))
    stored = read(tmp_path)
    layers = stored["decoder"].pop("layers")
    assert {name: values.shape for name, values in by_name(stored)} == {
        "token_embedder/embedding": (V, D),
        "decoder/logits_dense/kernel": (D, V),
        "decoder/decoder_norm/scale": (D,),
    }
    assert {name: values.shape for name, values in by_name(layers)} == {
        "pre_self_attention_layer_norm/scale": (D, L),
        "post_self_attention_layer_norm/scale": (D, L),
        "self_attention/query/kernel": (D, L, N, H),
        "self_attention/key/kernel": (D, L, M, H),
        "self_attention/value/kernel": (D, L, M, H),
        "self_attention/out/kernel": (N, L, H, D),
        "mlp/wi_0/kernel": (D, L, F),
        "mlp/wi_1/kernel": (D, L, F),
        "mlp/wo/kernel": (F, L, D),
    }


def by_name(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield "/".join(key.key for key in path), leaf


def test_what_is_only_moved_keeps_its_bits(tmp_path):
    params = loud(model())
    maxtext.write(tmp_path, model(), params)
    stored, blocks = read(tmp_path), params["blocks"]
    layers = stored["decoder"]["layers"]
    for layer in range(L):
        for ours, theirs in (
            (blocks["ffn_gate"]["kernel"], layers["mlp"]["wi_0"]["kernel"]),
            (blocks["ffn_in"]["kernel"], layers["mlp"]["wi_1"]["kernel"]),
            (blocks["ffn_out"]["kernel"], layers["mlp"]["wo"]["kernel"]),
            (blocks["v"]["kernel"], layers["self_attention"]["value"]["kernel"]),
            (blocks["ln_1"]["scale"], layers["pre_self_attention_layer_norm"]["scale"]),
            (blocks["ln_2"]["scale"], layers["post_self_attention_layer_norm"]["scale"]),
        ):
            assert np.array_equal(ours[layer], np.asarray(theirs)[:, layer])
        out = np.asarray(layers["self_attention"]["out"]["kernel"])[:, layer]
        assert np.array_equal(blocks["attention_out"]["kernel"][layer].reshape(N, H, D), out)
    assert np.array_equal(params["head"].T, stored["decoder"]["logits_dense"]["kernel"])
    assert np.array_equal(params["embed_table"], stored["token_embedder"]["embedding"])


def neighbours_turned(x_TxNxH, position_T, theta):
    """RoPE of MaxText's Llama 3.1: numbers 2 i and 2 i + 1 are turned by position / theta^(2 i / H)."""
    angle = np.repeat(position_T[:, None] * theta ** -(np.arange(0, H, 2) / H), 2, axis=-1)[:, None]
    other = np.stack([-x_TxNxH[..., 1::2], x_TxNxH[..., ::2]], axis=-1).reshape(x_TxNxH.shape)
    return x_TxNxH * np.cos(angle) + other * np.sin(angle)


def test_scores_of_attention_are_ours_without_a_scale(tmp_path):
    config, params = model(), loud(model())
    maxtext.write(tmp_path, config, params)
    theirs = read(tmp_path)["decoder"]["layers"]["self_attention"]
    rope = config.architecture.kinds[0].rope
    x_TxD, position_T = np.random.default_rng(0).normal(size=(5, D)), np.arange(5)
    angle_1xTxr = (position_T[:, None] * rope.frequencies(H))[None]
    tables = np.cos(angle_1xTxr), np.sin(angle_1xTxr)
    for layer in range(L):
        ours = [np.einsum("td,dnh->tnh", x_TxD, params["blocks"][name]["kernel"][layer]) for name in "qk"]
        q, k = (np.asarray(turn(part[None].astype(np.float32), *tables)[0]) for part in ours)
        scores = np.einsum("tnh,snh->nts", q, np.repeat(k, N // M, axis=1)) / np.sqrt(H)
        mine = [
            np.einsum("td,dnh->tnh", x_TxD, np.asarray(theirs[name]["kernel"])[:, layer]) for name in ("query", "key")
        ]
        q, k = (neighbours_turned(part, position_T, rope.theta) for part in mine)
        np.testing.assert_allclose(
            np.einsum("tnh,snh->nts", q, np.repeat(k, N // M, axis=1)), scores, rtol=2e-4, atol=1e-4
        )


def test_a_tied_head_has_no_matrix_and_frozen_rows_are_rows(tmp_path):
    config = model(tied_head=True, frozen_rows=4)
    params = loud(config)
    maxtext.write(tmp_path, config, params)
    stored = read(tmp_path)
    assert "logits_dense" not in stored["decoder"]
    table = np.concatenate([params["embed_table"], params["embed_frozen"]])
    assert np.array_equal(stored["token_embedder"]["embedding"], table)
    keys = json.loads((tmp_path / "maxtext.json").read_text())
    assert keys["logits_via_embedding"] and not keys["normalize_embedding_logits"]


def test_qwens_are_written_as_they_are(tmp_path):
    parts = model().architecture
    qwen2 = dataclasses.replace(model(), architecture=dataclasses.replace(parts, qkv_bias=True))
    qwen3 = dataclasses.replace(model(), architecture=dataclasses.replace(parts, qk_norm="head"))
    for name, config in (("qwen2", qwen2), ("qwen3", qwen3)):
        params = loud(config)
        maxtext.write(tmp_path / name, config, params)
        theirs = read(tmp_path / name)["decoder"]["layers"]["self_attention"]
        for ours, module in (("q", "query"), ("k", "key")):
            assert np.array_equal(np.moveaxis(params["blocks"][ours]["kernel"], 0, 1), theirs[module]["kernel"])
            if name == "qwen2":
                assert np.array_equal(np.moveaxis(params["blocks"][ours]["bias"], 0, 1), theirs[module]["bias"])
            else:
                assert np.array_equal(params["blocks"][f"ln_{ours}"]["scale"].T, theirs[f"{module}_norm"]["scale"])
        keys = json.loads((tmp_path / name / "maxtext.json").read_text())
        assert (keys["decoder_block"], "rope_type" in keys) == (name, False)


LLAMA31 = Rope(theta=5e5, scaling="llama3", factor=8.0, original_length=8192, slow_turns=1.0, fast_turns=4.0)


def test_only_the_scaling_of_llama_31_is_built_in():
    assert maxtext.options(with_rope(LLAMA31, model())).keys["rope_use_scale"]
    assert not maxtext.options(model()).keys["rope_use_scale"]
    for rope in (dataclasses.replace(LLAMA31, factor=32.0), Rope(scaling="linear", factor=2.0)):
        with pytest.raises(UserError, match="no RoPE such as this model's"):
            maxtext.options(with_rope(rope, model()))


@pytest.mark.parametrize(
    "change",
    [dict(ffn_bias=True), dict(activation="gelu"), dict(output_norms=True), dict(kinds=(LayerKind(4, Rope()),))],
)
def test_other_blocks_are_refused_before_anything_is_written(change, tmp_path):
    config = model()
    config = dataclasses.replace(config, architecture=dataclasses.replace(config.architecture, **change))
    for other in (config, SMALL):
        with pytest.raises(UserError, match="no block such as this model's") as error:
            maxtext.write(tmp_path / "out", other, loud(other))
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
