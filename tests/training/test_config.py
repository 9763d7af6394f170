import json

import pytest
from helpers import make_run, run_in
from helpers.killed_runs import MATERIAL

from babel_jax.common.errors import UserError
from babel_jax.model.families.catalogue import BY_TYPE
from babel_jax.training import config as run_config


def decoder(**model):
    return run_config.decoder_config(make_run(model=model), 1024, 128, 0)


def test_a_family_is_what_its_blocks_are_made_of():
    for family in BY_TYPE:
        model = decoder(preset="test", family=family)
        assert model.architecture == BY_TYPE[family].scratch(16, 8, 2) and model.kv_heads == 2
    assert decoder(preset="8b", family="llama").kv_heads == 8
    assert decoder(preset="8b", family="llama", kv_heads=4).kv_heads == 4
    with pytest.raises(UserError, match="unknown model family 'lama'; did you mean 'llama'"):
        decoder(preset="test", family="lama")
    with pytest.raises(UserError, match="kv_heads = heads, not 2 x 8, 16 and 1; choose a family without it"):
        decoder(preset="test", kv_heads=1)


def test_windows_that_no_row_outgrows_leave_every_kernel():
    """Gemma 2 has windows of 4,096 in every other layer, and caps scores."""
    run = make_run(model=dict(preset="1b7", family="gemma2", dtype="bfloat16"))
    short, long = (run_config.decoder_config(run, 1024, length, 0, "tpu") for length in (4096, 8192))
    assert (short.windows, short.attention) == ((0, 0), "splash")
    assert (set(long.windows), long.attention) == ({4096, 0}, "reference")
    assert run_config.decoder_config(run, 1024, 4096, 0, "gpu").attention == "reference"


def test_the_true_number_of_parameters_decides_what_is_kept_for_the_backward_pass():
    """A gated block of the same width has a matrix more."""
    assert [decoder(preset=preset).remat for preset in ("wide", "5m", "1b3", "6b7")] == ["none", "dots", "dots", "full"]
    assert decoder(preset="wide", family="llama").remat == "dots"
    assert decoder(preset="1b7", family="llama").remat == "dots"


def test_a_run_of_a_version_without_families_goes_on(tmp_path):
    """Its config.json has no such keys, and neither has that of a new run of GPT-2's family."""
    run = run_in(tmp_path, make_run(), MATERIAL)
    run.check_config()
    stored = json.loads((tmp_path / "config.json").read_text())
    assert set(stored["config"]["model"]) == {"preset", "tied_head", "dtype", "remat", "attention"}
    run.check_config()
    run.check_trained_as()
    for changes, message in (
        (dict(family="llama"), "model.family was None and is now llama"),
        (dict(family="llama", kv_heads=1), "model.family was None and is now llama"),
        (dict(kv_heads=2), "model.kv_heads was None and is now 2"),
    ):
        other = run_in(tmp_path, run_config.override(make_run(), {"model": changes}), MATERIAL)
        with pytest.raises(UserError, match=message):
            other.check_config()
    with pytest.raises(UserError, match="model.family was gpt2 and is now llama"):
        run_in(tmp_path, run_config.override(make_run(), {"model": {"family": "llama"}}), MATERIAL).check_trained_as()
