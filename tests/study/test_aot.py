import dataclasses
import importlib.util
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import make_run, python

from babel_jax.common.errors import UserError
from babel_jax.common.material import Shapes
from babel_jax.model import chips
from babel_jax.model.flops import attention_flops, block_parameters, matmul_parameters
from babel_jax.study import aot

SHAPES = Shapes(vocab_size=64, max_length=16, frozen_rows=0, document_end=3)


@pytest.mark.parametrize("model", [dict(family="gpt2"), dict(family="llama", kv_heads=1)], ids=["gpt2", "llama"])
def test_work_is_counted_as_often_as_it_runs(model):
    """Executed products of a step: the model's, plus what remat does again, plus the half of attention that is masked."""
    plain, full = (
        aot.compile_step(make_run(model=dict(preset="test", remat=remat) | model), SHAPES, jax.devices())
        for remat in ("none", "full")
    )
    config = plain.program.model
    tokens, D, F, L, T = 8 * 16, config.width, config.ffn_width, config.layers, 16
    assert plain.flops == tokens * (6 * matmul_parameters(config) + attention_flops(config))
    # The backward pass does a block's forward products again, but for the last of them, which no gradient needs.
    scores_and_values = 2 * T * config.heads * config.head_width
    again = tokens * L * 2 * (block_parameters(config) // L - D * F + scores_and_values)
    assert full.flops == plain.flops + again
    assert plain.fits and plain.hardware.memory_limit is None and plain.roofline is None
    assert plain.program.state_bytes["opt_state"] == pytest.approx(2 * plain.program.state_bytes["params"], abs=64)
    assert plain.compiled.peak_bytes > plain.program.state_bytes["params"]


@pytest.mark.parametrize("window, visited", [(0, 10), (1, 4), (2, 7), (513, 7), (514, 9), (2048, 10)])
def test_kernels_count_the_blocks_that_they_visit(window, visited):
    """Of 4 x 4 blocks of 512; two queries share a key. That so many hold a pair is counted by hand, pair by pair."""
    from babel_jax.model.attention import Mixing, splash

    B, T, N, H = 2, 2048, 4, 64
    distance = np.arange(T)[:, None] - np.arange(T)
    seen = (distance >= 0) & (distance < (window or T))
    assert seen.reshape(4, 512, 4, 512).any((1, 3)).sum() == visited
    q, k = (jax.ShapeDtypeStruct((B, T, heads, H), jnp.bfloat16) for heads in (N, N // 2))
    document = jax.ShapeDtypeStruct((B, T), jnp.int32)

    def attend(q, k, document):
        return splash(q, k, k, document, Mixing(window=window), None).astype(jnp.float32).sum()

    product, small = 2 * B * N * H * 512 * 512 * visited, 2 * B * N * H * T  # small: what is written times its gradient
    for function, wanted in ((attend, 2 * product), (jax.grad(attend, (0, 1)), (2 + 5) * product + small)):
        jaxpr = jax.make_jaxpr(function)(q, k, document)
        assert aot.executed_flops(jaxpr.jaxpr, 1, window) == wanted


def test_the_roofline_is_the_slowest_part(monkeypatch):
    kind = jax.devices()[0].device_kind
    monkeypatch.setitem(chips.CHIPS, kind, chips.Chip(1e12, 10**9, 1e9, 1e9))
    report = aot.compile_step(make_run(), SHAPES, jax.devices())
    roofline = report.roofline
    assert roofline.step_seconds == max(roofline.seconds.values()) == report.compiled.moved_bytes / 1e9
    assert roofline.mfu == pytest.approx(report.program.model_flops / 1e12 / roofline.step_seconds)
    text = aot.describe(report)
    assert (
        "train step: 1 x" in text
        and "of      1.00 GB" in text.replace("of 1.00", "of      1.00")
        and "roofline" in text
    )
    monkeypatch.setitem(chips.CHIPS, kind, dataclasses.replace(chips.CHIPS[kind], memory_bytes=1000))
    assert not aot.compile_step(make_run(), SHAPES, jax.devices()).fits


def test_unknown_topologies_say_what_to_do():
    with pytest.raises(UserError, match="there is no gpu here"):
        aot.devices_of("gpu")
    with pytest.raises(UserError, match="needs 512 devices and there are 1"):
        aot.devices_of("cpu:512")
    for nonsense in (
        "",
        "cpu:x",
        "cpu:",
        "cpu:0",
        "cpu:²",
        "cpu:1025",
        "gpu:1e3",
        "x*v5e:4x4",
        "2*3*v5e:4x4",
        "v5e",
        "v5e:4x",
        "v5e:4x4 ",
    ):
        with pytest.raises(UserError, match=f"--topology is '{re.escape(nonsense)}'; write v5e:4x4, .* cpu:8"):
            aot.devices_of(nonsense)
    with pytest.raises(UserError, match="cannot compile for 'v99:1x1'.*topologies are written v5e:4x4"):
        aot.devices_of("v99:1x1")


COMPILE = ("-m", "babel_jax", "compile", "--config=configs/organism.py:tiny")


@pytest.mark.processes
def test_the_verb_compiles_for_eight_devices(tmp_path):
    """FSDP over 8: no array of a whole parameter stack, sharded or not, is ever held by one device."""
    done = python(*COMPILE, "--topology=cpu:8", "--config.common.mesh.data=1", "--config.common.mesh.fsdp=8")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "mesh {'data': 1, 'fsdp': 8, 'tensor': 1}" in done.stdout
    assert "train step: 8 x cpu" in done.stdout and "probe: 8 x cpu" in done.stdout
    wrong = python(*COMPILE, "--topology=cpu:8", "--config.common.mesh.fsdp=3")
    assert wrong.returncode == 2 and "does not fit 8 devices" in wrong.stderr


REPLICATED = """
import sys
from helpers import make_run
from babel_jax.study import aot
from babel_jax.common.material import Shapes
import jax, re
run = make_run(model=dict(preset="test"), mesh=dict(data=1, fsdp=8, tensor=1))
report = aot.compile_step(run, Shapes(80, 24, 0, 3), jax.devices())
L, D, F = report.program.model.layers, report.program.model.width, report.program.model.ffn_width
whole = [f"f32[{L},{D},{3 * D}]", f"f32[{L},{D},{F}]", f"f32[{L},{F},{D}]", f"f32[{L},{D},{D}]"]
print([shape for shape in whole if shape in report.compiled.text], len(report.compiled.collectives) > 0)
"""


@pytest.mark.processes
def test_no_parameter_is_replicated_by_accident():
    done = python("-c", REPLICATED, devices=8)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[] True"


@pytest.mark.processes
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu (pip install 'jax[tpu]') is not installed"
)
def test_a_tpu_pod_is_compiled_for():
    done = python(*COMPILE, "--topology=v5e:2x2")
    assert done.returncode == 0 and "train step: 4 x TPU v5 lite" in done.stdout, done.stderr[-2000:]
