"""What study.json says, and which are refused."""

import json

import pytest
from helpers import synthetic_study

from babel_jax.common.errors import UserError
from babel_jax.study import analysis


@pytest.fixture(scope="module")
def alone():
    """(facts, rows) of a planted study of one new language, with replay."""
    return synthetic_study.alone()


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a study: it has no study.json; run `study` first"):
        analysis.of_study(tmp_path)


def test_a_study_of_an_earlier_version_is_refused(tmp_path, alone):
    study, frame = alone
    synthetic_study.write_study(tmp_path, frame)
    (tmp_path / "study.json").write_text(json.dumps(synthetic_study.description(frame) | {"new": "php"}))
    with pytest.raises(UserError, match="of an earlier version; run the study again"):
        analysis.of_study(tmp_path)
