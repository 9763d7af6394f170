import numpy as np
import pytest
import synthetic_study

from babel_jax import measurements
from babel_jax.errors import UserError
from babel_jax.optimum import algorithm1


def test_eq1_is_one_at_the_primarys_loss_and_zero_at_its_own():
    share, out_of_range = algorithm1.primary_share([3.0, 2.0, 1.0, 0.5, 4.0], loss_primary=3.0, loss_own=1.0)
    np.testing.assert_allclose(share, [1, 0.5, 0, 0, 1])
    np.testing.assert_array_equal(out_of_range, [False, False, False, True, True])
    assert np.isnan(algorithm1.primary_share(1.0, 2.0, 2.0)[0]), "two equal ends tell nothing"


def test_pairwise_reading_gives_the_papers_corpus():
    """Python 11B: PHP 5B is P = 0.6875, C# 10B is P = 0.5238 (paper)."""
    assert algorithm1.pairwise_share(5e9, 11e9) == pytest.approx(0.6875)
    assert algorithm1.pairwise_share(10e9, 11e9) == pytest.approx(0.5238, abs=5e-5)
    np.testing.assert_allclose(algorithm1.pairwise_tokens([11 / 16, 11 / 21], 11e9), [5e9, 10e9])
    assert np.isinf(algorithm1.pairwise_tokens(0.0, 11e9)) and algorithm1.pairwise_tokens(1.0, 11e9) == 0


def test_slope_is_the_derivative_of_the_pairwise_tokens():
    step = 1e-6
    numeric = (algorithm1.pairwise_tokens(0.6 + step, 11.0) - algorithm1.pairwise_tokens(0.6 - step, 11.0)) / (2 * step)
    assert algorithm1.pairwise_slope(0.6, 11.0) == pytest.approx(numeric)


def test_joint_reading_solves_all_shares_together_and_inverts():
    tokens = algorithm1.joint_tokens([0.6875, 0.5238], 11e9)
    np.testing.assert_allclose(algorithm1.joint_share(tokens, 11e9), [0.6875, 0.5238])
    shares = algorithm1.token_share([11e9, *tokens])
    np.testing.assert_allclose(shares[1:], [1 - 0.6875, 1 - 0.5238])
    assert tokens[0] > algorithm1.pairwise_tokens(0.6875, 11e9), "the other language dilutes the primary"


def test_joint_and_pairwise_agree_for_one_language():
    for share in (0.07, 0.5, 0.6875, 1.0):
        np.testing.assert_allclose(algorithm1.joint_tokens(share, 11e9), [algorithm1.pairwise_tokens(share, 11e9)])


def test_joint_reading_says_when_it_has_no_solution():
    with pytest.raises(UserError, match="no solution"):
        algorithm1.joint_tokens([0.4, 0.5], 11e9)


@pytest.fixture(scope="module")
def frame():
    return synthetic_study.planted(seeds=3, problems=80, steps=synthetic_study.STEPS[::2], layers=2)


def test_proposals_take_the_loss_at_the_best_checkpoint(frame):
    found = algorithm1.proposals(frame, "python", "php")
    assert set(found) == set(algorithm1.SOURCES)
    loss = frame[(frame["metric"] == "loss") & (frame["run"] == "continual") & (frame["language"] == "php")]
    mean = loss.groupby("step")["value"].mean()
    best = found["loss"]["best_step"]
    expected = (mean[best] - mean.iloc[-1]) / (mean.iloc[0] - mean.iloc[-1])
    assert found["loss"]["p_star"] == pytest.approx(expected, abs=1e-4)
    assert found["loss"]["pairwise_share"] == pytest.approx(1 - expected, abs=1e-4)
    for proposal in found.values():
        assert proposal["pairwise_share"] == proposal["joint_share"]
        assert proposal["p_star_ci"][0] <= proposal["p_star"] <= proposal["p_star_ci"][1]
        assert proposal["pairwise_share"] == round(proposal["pairwise_share"], 4)
    assert found["knowledge_share"]["p_star"] == pytest.approx(0.59, abs=0.03)


def test_one_seed_gets_its_interval_from_its_problems(frame):
    one = frame[frame["seed"] == 0]
    found = algorithm1.proposals(one, "python", "php")["loss"]
    assert found["p_star_ci"][0] <= found["p_star"] <= found["p_star_ci"][1]


def test_proposals_without_what_they_need():
    empty = measurements.table(
        [measurements.row(run="continual", seed=0, step=0, probe="loss", metric="loss", value=1)]
    )
    with pytest.raises(UserError, match="no judged problems"):
        algorithm1.proposals(empty, "python", "php")


def sweep(score_MxS):
    return [
        {"run": f"mix_{m}", "new_share": m / 10, "seeds": list(range(len(scores))), "by_seed": scores, "solved": []}
        for m, scores in enumerate(np.asarray(score_MxS, float))
    ]


def test_the_best_mix_is_chosen_on_the_other_seeds():
    gap = algorithm1.gap_to_best(sweep([[0.9, 0.45, 0.45], [0.5, 0.5, 0.5], [0.4, 0.4, 0.4]]), "mix_2")
    np.testing.assert_allclose(gap["by_seed"], [0.1, 0.05, 0.05], err_msg="seed 0's luck must not count for seed 0")
    assert gap["best_run"] == "mix_0"
    assert algorithm1.gap_to_best(sweep([[0.9, 0.1]]), "mix_7") is None


def test_mixes_are_compared_within_seeds():
    found = algorithm1.compare_mixes(sweep([[0.1, 0.5, 0.9], [0.2, 0.62, 0.98]]), "mix_0", "mix_1")
    assert found["value"] == pytest.approx(0.1) and found["ci"][0] > 0
    assert found["first"] == pytest.approx(0.5) and found["second"] == pytest.approx(0.6)


def test_one_seed_compares_mixes_over_its_problems():
    solved_2xQ = np.array([np.arange(200) < 100, np.arange(200) < 130], float)
    mixes = [
        {"run": run, "new_share": 0.5, "seeds": [4], "by_seed": np.array([solved_Q.mean()]), "solved": [solved_Q]}
        for run, solved_Q in zip(("mix_a", "mix_b"), solved_2xQ, strict=True)
    ]
    found = algorithm1.compare_mixes(mixes, "mix_a", "mix_b")
    assert found["value"] == pytest.approx(0.15) and 0.05 < found["ci"][0] < 0.15 < found["ci"][1]
    gap = algorithm1.gap_to_best(mixes, "mix_a")
    assert gap["ci"][0] > 0.05


def test_calibration_measures_the_distance_from_the_identity():
    found = algorithm1.calibration([1.0, 0.5, 0.0, 0.2], [0.9, 0.5, 0.1, np.nan])
    assert found["mean_error"] == pytest.approx(0.2 / 3) and found["largest_error"] == pytest.approx(0.1)
    assert found["correlation"] == pytest.approx(1)
