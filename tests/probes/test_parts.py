import dataclasses
import re

import jax
import numpy as np
import pytest
from helpers import by_path, loud, same
from helpers.architectures import params_of
from helpers.changed import (
    CONFIG,
    OTHER,
    PARAMS,
)

from babel_jax.common.errors import UserError
from babel_jax.probes import parts


@pytest.mark.parametrize("prefixes", [(), ("embed_", "head"), ("blocks",), ("blocks/ffn_",)])
def test_restoring_whole_parts_is_what_the_patches_of_a_study_do(prefixes):
    ours, theirs = by_path(PARAMS), by_path(OTHER)
    starts = tuple("['" + prefix.replace("/", "']['") for prefix in prefixes)
    want = {name: theirs[name] if name.startswith(starts) else ours[name] for name in ours}
    assert same(by_path(parts.restore(PARAMS, OTHER, prefixes)), want)


@pytest.mark.parametrize(
    "part, restored",
    [
        ("embed_table", {"['embed_table']": slice(None)}),
        ("embed_table[5,7,10:20]", {"['embed_table']": [5, 7, *range(10, 20)]}),
        ("head[ 3 ]", {"['head']": [3]}),
        ("blocks/attention_out[0:2]", {f"['blocks']['attention_out']['{x}']": slice(None) for x in ("kernel", "bias")}),
        (
            "blocks/ffn_[1]",
            {f"['blocks']['ffn_{way}']['{x}']": [1] for way in ("in", "out") for x in ("kernel", "bias")},
        ),
    ],
)
def test_parts_of_the_parameters(part, restored):
    got, ours, theirs = (by_path(tree) for tree in (parts.restore(PARAMS, OTHER, part), PARAMS, OTHER))
    want = {name: leaf.copy() for name, leaf in ours.items()}
    for name, rows in restored.items():
        want[name][rows] = theirs[name][rows]
    assert same(got, want)
    assert not same(got, ours) and not same(got, theirs)


def test_several_parts_add_up_and_lie_where_they_lay():
    got = parts.restore(PARAMS, jax.device_get(OTHER), ["head[1]", "head[2:4]", "ln_f_scale"])
    assert np.array_equal(got["head"][1:4], OTHER["head"][1:4]) and np.array_equal(got["head"][4:], PARAMS["head"][4:])
    assert np.array_equal(got["ln_f_scale"], OTHER["ln_f_scale"])
    assert all(
        isinstance(a, jax.Array) and a.sharding == b.sharding
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(PARAMS), strict=True)
    )
    host = parts.restore(jax.device_get(PARAMS), OTHER, "head[1]")
    assert isinstance(host["head"], np.ndarray)


@pytest.mark.parametrize(
    "part, message",
    [
        ("embed_tabel", "unknown part of the parameters 'embed_tabel'; did you mean 'embed_table'"),
        ("blocks/fnn_in[0]", "did you mean 'blocks/ffn_in"),
        ("head[23]", "rows 23 of 'head[23]' do not exist; 'head' has rows 0 to 22"),
        ("head[20:24]", "rows 20:24"),
        ("head[4:4]", "rows 4:4"),
        ("head[-1]", "cannot read '-1'"),
        ("head[]", "cannot read ''"),
        ("head[1", "cannot read the part 'head[1'"),
        ("", "cannot read the part ''"),
        ("embed_[2]", "different lengths (embed_position, embed_table)"),
    ],
)
def test_parts_that_cannot_be(part, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parts.restore(PARAMS, OTHER, [part])


def test_a_checkpoint_of_another_model_is_refused():
    wider = loud(dataclasses.replace(CONFIG, ffn_width=32))
    with pytest.raises(UserError, match=re.escape("'blocks/ffn_in/bias' is (2, 24) here and (2, 32) there")):
        parts.restore(PARAMS, wider, "head")
    with pytest.raises(UserError, match="'head' is .* here and missing there"):
        parts.restore(PARAMS, loud(dataclasses.replace(CONFIG, tied_head=True)), "blocks")


def test_the_ffn_of_a_gated_model_is_restored_with_its_gate():
    ours, theirs = params_of("llama"), params_of("llama", seed=1)
    restored = parts.restore(ours, theirs, "blocks/ffn_")
    for name, block in restored["blocks"].items():
        source = theirs if name.startswith("ffn_") else ours
        assert all(np.array_equal(leaf, source["blocks"][name][part]) for part, leaf in block.items())
    assert "ffn_gate" in restored["blocks"]
