"""A finished study as a cell of the regrets; one that has trained no proposal yet is none."""

import json

import pytest
from helpers import synthetic_study

from babel_jax.common.files import write_json
from babel_jax.optimum import cell_regrets
from babel_jax.study import cells, predictions

CANDIDATES = ["algorithm1_loss", "unimax", "ado", "law", "temperature"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    place = tmp_path_factory.mktemp("cell") / "s40_400"
    _, frame = synthetic_study.alone()
    synthetic_study.write_study(place, frame)
    described = json.loads((place / "study.json").read_text())
    write_json(place / "study.json", described | {"config": {"candidates": CANDIDATES}})
    write_json(place / "config.json", {})
    return place


def test_a_study_that_has_proposed_nothing_is_no_cell(written):
    assert cells.of_study(written) == "it has not proposed any corpus yet"


def test_every_optimiser_has_a_mix_and_one_that_asks_for_nothing_the_original(written):
    predictions.write(written, ["algorithm1_loss"])
    cell = cells.of_study(written)
    assert cell.name == "s40_400" and set(cell.asked) == {"original", *CANDIDATES}
    assert cell.asked["unimax"].name == "unimax"
    assert cell.asked["temperature"].name == cell.asked["original"].name == "0.6765"
    assert {mix.name for mix in cell.sweep} >= {"0.0500", "0.6765"} and "unimax" not in {mix.name for mix in cell.sweep}
    regret = {each.optimiser: each for each in cell_regrets.regrets(cell)}
    assert regret["temperature"].effect.value == regret["original"].effect.value > 0.05
    assert regret["original"].share == pytest.approx(0.6765, abs=1e-3)


def test_a_mix_that_is_still_to_come_is_named(written):
    described = json.loads((written / "study.json").read_text())
    run = described["runs"][0] | {"run": "mix_later"}
    write_json(written / "study.json", described | {"runs": [*described["runs"], run]})
    assert cells.of_study(written) == "mix later is not trained and measured in all seeds yet"
