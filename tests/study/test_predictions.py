"""What a study predicts is written before its test, once, and holds the digest of what it predicted."""

import pytest

from babel_jax.common.errors import UserError
from babel_jax.common.files import write_json
from babel_jax.study import predictions


def study(tmp_path):
    write_json(tmp_path / "config.json", {"seeds": [0]})
    write_json(tmp_path / "mixtures/peak_tokens.json", {"stages": []})
    return tmp_path


def test_is_read_as_written(tmp_path):
    place = study(tmp_path)
    predictions.write(place, ["peak_tokens"])
    (prediction,) = predictions.read(place).values()
    assert prediction.name == "peak_tokens"
    assert len(prediction.sha256) == 64 and prediction.written.endswith("Z")


def test_is_never_replaced(tmp_path):
    place = study(tmp_path)
    predictions.write(place, ["peak_tokens"])
    before = (place / "predictions/peak_tokens.json").read_bytes()
    write_json(place / "config.json", {"seeds": [1]})
    predictions.write(place, ["peak_tokens"])
    assert (place / "predictions/peak_tokens.json").read_bytes() == before


def test_of_another_mixture_is_refused(tmp_path):
    place = study(tmp_path)
    predictions.write(place, ["peak_tokens"])
    write_json(place / "mixtures/peak_tokens.json", {"stages": [1]})
    with pytest.raises(UserError, match="not the one that .* predicted"):
        predictions.read(place)


def test_a_study_without_predictions_has_none(tmp_path):
    assert predictions.read(tmp_path) == {}


def test_a_mix_that_was_trained_before_is_not_predicted(tmp_path):
    place = study(tmp_path)
    write_json(place / "seed0/mix_peak_tokens/config.json", {})
    predictions.write(place, ["peak_tokens"])
    assert predictions.read(place) == {}
