import numpy as np
import pytest
from helpers import small_material
from helpers.changed import (
    CONFIG,
    NEURONS,
    ONE_DEVICE,
    PARAMS,
    hook,
    numpy_forward,
)

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.common.material import Problems
from babel_jax.measuring import programs
from babel_jax.measuring.greedy import generate, jitted_generation
from babel_jax.probes import causes, edits
from babel_jax.probes.subject import Subject


def make_problems(n=10):
    rng = np.random.default_rng(7)
    return Problems(
        prompt_QxT={"php": rng.integers(0, 23, (n, 5)).astype(np.int32)},
        length_Q=np.where(np.arange(n) % 3, 5, 3).astype(np.int32),
        answer_QxA={"php": rng.integers(0, 23, (n, 4)).astype(np.int32)},
        new_tokens=4,
        judge=lambda language, written_QxA: written_QxA[:, 0] % 2 == 0,
        transfer_Q=np.arange(n) % 2 == 0,
        word_slot_QxW=np.broadcast_to([0, 2], (n, 2)),
        transfer_word_QxW=np.stack([np.arange(n) % 2 == 0, np.zeros(n, bool)], axis=1),
    )


def program_change_rows(*arguments):
    return [*programs.pass_change_rows(*arguments), *programs.answer_change_rows(*arguments)]


def test_programs_before_and_after():
    problems = make_problems()
    big = ~NEURONS
    jitted_generation.cache_clear()
    found = program_change_rows(
        Subject(PARAMS, CONFIG, batch_size=4), problems, "php", {"s": big}, causes.Change("value", {"value": 1.5})
    )
    assert jitted_generation(CONFIG, 4, -1, ONE_DEVICE)._cache_size() == 1
    rows = {(row["metric"], row["options"]["subset"]): row for row in found}
    assert len(rows) == len(found) == 12
    for metric in ("pass", "margin", "accuracy"):
        row = rows[f"{metric}_specificity", "transfer - shared"]
        transfer, shared = (rows[f"{metric}_change", subset] for subset in ("transfer", "shared"))
        assert row["value"] == pytest.approx(transfer["value"] - shared["value"])
        assert row["options"]["random_mean"] == pytest.approx(
            transfer["options"]["random_mean"] - shared["options"]["random_mean"]
        )
        assert row["ci_low"] <= row["value"] <= row["ci_high"] and row["n"] == rows[f"{metric}_change", "all"]["n"]
        width = {name: row["ci_high"] - row["ci_low"] for name, row in (("both", row), ("t", transfer), ("s", shared))}
        assert width["both"] >= max(width["t"], width["s"])  # of two means over disjoint problems
    change = edits.edit("value", big, value=1.5)
    solved = [
        problems.judge(
            "php",
            generate(
                Subject(PARAMS, CONFIG, batch_size=4), problems.prompt_QxT["php"], problems.length_Q, 4, edit=edit
            ),
        )
        for edit in (None, change)
    ]
    row = rows["pass_change", "all"]
    assert row["value"] == pytest.approx(solved[1].mean() - solved[0].mean())
    gained, lost = (solved[1] & ~solved[0]).sum(), (solved[0] & ~solved[1]).sum()
    assert gained + lost > 0 and (row["options"]["gained"], row["options"]["lost"]) == (gained, lost)
    assert row["options"]["p_mcnemar"] == statistics.mcnemar(int(gained), int(lost)) and row["n"] == 10
    assert rows["pass_change", "transfer"]["n"] == 5 and rows["margin_change", "transfer"]["n"] == 5

    margins = []
    for q in range(10):
        length = problems.length_Q[q]
        tokens = np.concatenate([problems.prompt_QxT["php"][q, :length], problems.answer_QxA["php"][q]])[None, :8]
        for ffn in (lambda layer, a: a, hook(lambda a, at: a * 0 + 1.5, big)):
            logits = numpy_forward(PARAMS, tokens, ffn)[0][0]
            for slot in (0, 2):
                at = logits[length - 1 + slot]
                right = tokens[0, length + slot]
                margins.append(at[right] - np.delete(at, right).max())
    before, after = np.array(margins).reshape(10, 2, 2).swapaxes(0, 1)
    row = rows["margin_change", "all"]
    assert row["value"] == pytest.approx((after - before).mean(), abs=1e-4) and row["n"] == 20
    assert row["options"]["before"] == pytest.approx(before.mean(), abs=1e-4) and row["options"]["at"] == "answers"


def test_a_program_cannot_be_written_with_another_rows_activations():
    with pytest.raises(UserError, match="choose another intervention"):
        program_change_rows(Subject(PARAMS, CONFIG), make_problems(), "php", {"a": NEURONS}, causes.Change("resample"))


def test_a_subset_of_the_problems_is_judged_as_among_all():
    problems, kept_Q = small_material().problems, np.arange(40) // 2 % 2 == 0
    subset, answers_QxA = programs.subset_of(problems, kept_Q), problems.answer_QxA["php"].copy()
    answers_QxA[::3] = 0
    assert np.array_equal(subset.judge("php", answers_QxA[kept_Q]), problems.judge("php", answers_QxA)[kept_Q])
    assert subset.judge("php", answers_QxA[kept_Q]).any() and len(subset.length_Q) == kept_Q.sum()
    for name in ("prompt_QxT", "answer_QxA"):
        assert np.array_equal(getattr(subset, name)["python"], getattr(problems, name)["python"][kept_Q])
