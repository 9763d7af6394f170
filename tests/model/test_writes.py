import dataclasses

import jax
import numpy as np
import pytest
from helpers import SMALL, loud
from helpers.architectures import FAMILIES, config_of, in_numpy, params_of

from babel_jax.common.errors import UserError
from babel_jax.model import writes
from babel_jax.model.decoder import Decoder
from babel_jax.model.taps import Edit, TapRequest
from babel_jax.probes import centroid
from babel_jax.probes.subject import Subject

TOKENS = np.random.default_rng(0).integers(0, 23, (3, 8))
EVERY = np.broadcast_to(np.arange(8), TOKENS.shape)


def taps_of(config, params, edit=None):
    request = TapRequest(positions_BxP=EVERY, ffn_at_positions=True, middle_at_positions=True)
    _, taps = Decoder(config).apply({"params": params}, TOKENS, None, request, edit=edit)
    return {name: np.asarray(values, np.float64) for name, values in taps.items()}


def all_written(config, params, taps):
    """Amounts times directions, and the bias as the norm lets it through: [L, B, P, D]."""
    blocks = params["blocks"]
    direction_LxFxD = np.asarray(writes.directions(blocks, config.architecture), np.float64)
    total = np.einsum("lbpf,lfd->lbpd", np.asarray(writes.amounts(taps), np.float64), direction_LxFxD)
    bias_LxD = np.asarray(blocks["ffn_out"].get("bias", np.zeros((config.layers, config.width))), np.float64)
    return total + bias_LxD[:, None, None]  # the families with a bias have no norm here


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
def test_amounts_times_directions_are_what_the_ffn_adds(family):
    config = SMALL if family == "gpt2" else config_of(family)
    params = loud(config)
    taps = taps_of(config, params)
    added = taps["residual_LxBxPxD"] - taps["before_write_LxBxPxD"]
    assert np.abs(added).max() > 0.1
    np.testing.assert_allclose(all_written(config, params, taps), added, atol=1e-5)
    # With parallel halves the FFN reads the block's input, and its output is added to what attention has written, too.
    reads_elsewhere = np.abs(taps["middle_LxBxPxD"] - taps["before_write_LxBxPxD"]).max() > 0.1
    assert reads_elsewhere == (family == "gpt_neox")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer, neuron", [(0, 3), (1, 11)])
def test_what_is_added_to_one_neuron_moves_the_state_along_its_direction(family, layer, neuron):
    """Finite differences through an edit, with the norm's factor held at the token's value."""
    config, params = config_of(family), params_of(family)
    add_LxF = np.zeros((config.layers, config.ffn_width), np.float32)
    add_LxF[layer, neuron] = 0.5
    before, after = taps_of(config, params), taps_of(config, params, Edit(add_LxF=add_LxF))
    base = before["before_write_LxBxPxD"][layer]
    factor = [taps.get("write_factor_LxBxP", np.ones((2, 3, 8)))[layer][..., None] for taps in (before, after)]
    moved = (after["residual_LxBxPxD"][layer] - base) * factor[0] / factor[1] - (
        before["residual_LxBxPxD"][layer] - base
    )
    direction_D = np.asarray(writes.directions(params["blocks"], config.architecture), np.float64)[layer, neuron]
    np.testing.assert_allclose(moved, 0.5 * factor[0] * direction_D, atol=2e-5 * np.abs(moved).max() + 1e-6)
    assert np.abs(moved).max() > 1e-2
    of_one = jax.tree.map(lambda leaf: leaf[layer], params["blocks"])
    np.testing.assert_allclose(
        np.asarray(writes.directions(of_one, config.architecture))[neuron], direction_D, rtol=1e-6
    )


def test_the_factor_is_that_of_the_model_written_out():
    for family in ("olmo2", "gemma2"):
        config, params = config_of(family), params_of(family)
        _, inside = in_numpy(config, params, TOKENS)
        np.testing.assert_allclose(taps_of(config, params)["write_factor_LxBxP"], inside["factor"], rtol=1e-4)


@pytest.mark.parametrize("norm", ["layer", "layer_plain"])
def test_a_norm_that_mixes_neurons_is_refused_before_anything_is_measured(norm):
    config = config_of("olmo2")
    config = dataclasses.replace(config, architecture=dataclasses.replace(config.architecture, norm=norm))
    with pytest.raises(UserError, match=f"write with '{norm}', which mixes neurons"):
        centroid.transfer_scores(Subject({"blocks": {}}, config), {}, None, "centroid_type2")
