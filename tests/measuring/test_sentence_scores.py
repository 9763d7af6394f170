"""How often a model's states of a sentence find its translation."""

import dataclasses

import numpy as np
from helpers import loud

from babel_jax.common.material import Parallel
from babel_jax.measuring import sentence_scores
from babel_jax.model.decoder import PRESETS, DecoderConfig
from babel_jax.probes.subject import Subject

CONFIG = DecoderConfig(vocab_size=60, max_length=32, **PRESETS["test"])
PARAMS = loud(CONFIG)
SUBJECT = Subject(PARAMS, CONFIG, batch_size=8)
N = 30


def parallel(share: float) -> Parallel:
    """Sentences of which this share are the same tokens in both languages; the other language's rows are longer."""
    rng = np.random.default_rng(0)
    tokens = {"old": rng.integers(1, 60, (N, 12)).astype(np.int32), "young": np.zeros((N, 16), np.int32)}
    tokens["young"][:, :12] = np.where(np.arange(N)[:, None] < share * N, tokens["old"], rng.integers(1, 60, (N, 12)))
    length = rng.integers(8, 13, N).astype(np.int32)
    return Parallel("young", "old", tokens, {"old": length, "young": length})


def test_states_are_means_weighted_by_position_of_a_sentences_own_tokens():
    task = parallel(0.5)
    states = sentence_scores.sentence_states(SUBJECT, task)
    for language in ("old", "young"):
        n, length = 3, task.length_N[language][3]
        _, taps = _forward(task.tokens_NxT[language][n, :length])
        weights = np.arange(1, length + 1)
        plain_LxD = (taps * weights[:, None]).sum(1) / weights.sum()
        np.testing.assert_allclose(states[language][:, n], plain_LxD, atol=1e-4)


def _forward(ids):
    """(final, [L, T, D]) of one row, without what the probes do."""
    from babel_jax.model.taps import Inside, TapRequest

    T = len(ids)
    request = TapRequest(np.ones((1, T, 1), np.float32), np.arange(T, dtype=np.int32)[None])
    final, taps = CONFIG.forward(PARAMS, ids[None], np.zeros((1, T), np.int32), Inside(request))
    return final, np.asarray(taps["residual_LxBxPxD"])[:, 0]


def test_equal_sentences_are_found_and_others_are_not():
    rows = sentence_scores.sentence_rows(SUBJECT, parallel(0.5), "task_retrieval")
    layers = {row["layer"]: row for row in rows if row["probe"] == "alignment"}
    assert set(layers) == {-1, *range(1, CONFIG.layers + 1)} and {row["metric"] for row in layers.values()} == {
        "retrieval"
    }
    assert all(0.4 <= row["value"] <= 0.7 and row["n"] == N and row["language"] == "young" for row in layers.values())
    (task,) = (row for row in rows if row["probe"] == "evaluation")
    assert task["metric"] == "task_retrieval" and task["value"] == layers[-1]["value"] and "layer" not in task
    assert task["options"] == {"subset": "all"} and task["ci_low"] < task["value"] < task["ci_high"]


def test_all_equal_sentences_are_found():
    task = parallel(1.0)
    rows = sentence_scores.sentence_rows(SUBJECT, task, "task_retrieval")
    assert all(row["value"] == 1 for row in rows)
    shuffled = dataclasses.replace(
        task, tokens_NxT=task.tokens_NxT | {"young": np.roll(task.tokens_NxT["young"], 1, axis=0)}
    )
    assert all(row["value"] < 0.2 for row in sentence_scores.sentence_rows(SUBJECT, shuffled, "task_retrieval"))
