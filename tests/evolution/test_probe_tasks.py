import pytest
from helpers import planted_probe

from babel_jax.evolution import probe_findings
from babel_jax.evolution.tasks import BESIDE, TITLES


@pytest.fixture(scope="module")
def branch(tmp_path_factory):
    place = tmp_path_factory.mktemp("probe")
    planted_probe.write(place, steps=(5, 10))
    (found,) = probe_findings.read(place).branches
    return found


def test_scores_of_tasks_and_what_is_measured_beside_them(branch):
    scores = branch.tasks.scores
    assert set(scores) == {(name, of) for name in ("word", "word_copied", "word_bits") for of in ("python", "php")}
    assert scores["word", "php"].mean == pytest.approx([0.31, 0.48]) and scores["word", "php"].n == 83
    assert scores["word_copied", "php"].mean == pytest.approx([0.57, 0.38])
    assert scores["word_bits", "python"].mean == pytest.approx([2.713, 2.313])
    assert {name for name, _ in scores} <= set(TITLES) and BESIDE["word_copied"].is_share


def test_sentences_by_layer_and_their_chance(branch):
    assert set(branch.tasks.sentences) == {"php"} and branch.tasks.sentence_chance == {"php": 0.02}
    layers = branch.tasks.sentences["php"]
    assert len(layers) == planted_probe.LAYERS and layers[0].mean == pytest.approx([0.31, 0.51])
    assert branch.alignment["php"][0].mean == pytest.approx([0.31, 0.51]), "prompts that are parallel are another thing"


def test_a_probe_that_asked_nothing_has_nothing(tmp_path):
    planted_probe.write(tmp_path, steps=(5,), tasks=False)
    (found,) = probe_findings.read(tmp_path).branches
    assert found.tasks.scores == {} and found.tasks.sentences == {}
