import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.common.run_names import parse
from babel_jax.optimum import rivals

# The paper's corpora, in billions of tokens.
ORIGINAL = dict(python=11, php=23, csharp=16, go=11, cpp=28)
OPTIMISED = ORIGINAL | dict(php=5, csharp=10)


def factors(corpus):
    return {name: corpus[name] / ORIGINAL[name] for name in ORIGINAL}


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_deals_the_same_cuts_to_other_languages(seed):
    found = factors(rivals.shuffled(ORIGINAL, OPTIMISED, "python", seed))
    cuts = factors(OPTIMISED)
    np.testing.assert_allclose(sorted(found.values()), sorted(cuts.values()))
    assert found["python"] == 1, "the primary is not cut"
    assert found["php"] != pytest.approx(cuts["php"]) and found["csharp"] != pytest.approx(cuts["csharp"])


def test_shuffled_is_random_in_its_seed_and_the_same_for_the_same():
    found = [rivals.shuffled(ORIGINAL, OPTIMISED, "python", seed) for seed in range(20)]
    assert len({tuple(corpus.values()) for corpus in found}) > 2
    assert found[3] == rivals.shuffled(ORIGINAL, OPTIMISED, "python", 3)


def test_shuffled_does_not_exist_where_no_other_language_could_take_the_cut():
    assert rivals.shuffled(ORIGINAL, ORIGINAL, "python") is None, "nothing was changed"
    assert rivals.shuffled(dict(python=11, php=23), dict(python=11, php=5), "python") is None
    halved = {name: tokens / 2 for name, tokens in ORIGINAL.items()} | dict(python=11)
    assert rivals.shuffled(ORIGINAL, halved, "python") is None, "all are cut alike"


def test_same_primary_is_the_confound_of_the_papers_corpus():
    """Cutting 89B to 65B raises Python from 12.4 % to 16.9 % of the tokens (computed from the paper's sizes)."""
    corpus = rivals.same_primary(ORIGINAL, OPTIMISED, "python")
    assert sum(corpus.values()) == pytest.approx(89) and corpus["python"] / 89 == pytest.approx(11 / 65)
    assert corpus["php"] / corpus["cpp"] == pytest.approx(23 / 28) and corpus["go"] / corpus["csharp"] == pytest.approx(
        11 / 16
    )


def test_temperature_flattens_and_unimax_levels_up_to_its_cap():
    flat = rivals.temperature(ORIGINAL)
    assert sum(flat.values()) == pytest.approx(89) and flat["cpp"] / flat["go"] == pytest.approx((28 / 11) ** 0.5)
    level = rivals.unimax(dict(python=100, php=2, go=48))
    assert level == pytest.approx(dict(python=71, php=8, go=71)), "php at 4 epochs, the others equal"
    assert rivals.unimax(ORIGINAL) == pytest.approx(dict.fromkeys(ORIGINAL, 89 / 5))


def test_equal_small_gives_every_new_language_the_same():
    assert rivals.equal_small(ORIGINAL, "python", 2) == dict(python=11, php=2, csharp=2, go=2, cpp=2)
    assert rivals.equal_small(dict(python=11, go=1), "python", 2) == dict(python=11, go=1), "no more than there is"


def test_swarm_lies_around_the_flattened_original_and_reaches_the_edges():
    share_MxK = np.array([list(corpus.values()) for corpus in rivals.swarm(ORIGINAL, 400, seed=1)]) / 89
    np.testing.assert_allclose(share_MxK.sum(1), 1)
    np.testing.assert_allclose(share_MxK * 1000, np.rint(share_MxK * 1000), atol=1e-9)
    centre_K = np.array(list(rivals.temperature(ORIGINAL).values())) / 89
    np.testing.assert_allclose(share_MxK.mean(0), centre_K, atol=0.04)
    assert share_MxK[:100].max(1).mean() > 0.6 > 0.5 > share_MxK[-100:].max(1).mean()
    assert rivals.swarm(ORIGINAL, 3) == rivals.swarm(ORIGINAL, 3) != rivals.swarm(ORIGINAL, 3, seed=1)


def test_costs_are_those_of_one_seed_beside_one_from_scratch_run():
    names = (
        "primary_climb",
        "primary_only",
        "continual_php",
        "control_php",
        "mix_swarm_01",
        "mix_swarm_02",
        "mix_0.1000",
        "mix_law",
        "multilingual_optimized",
    )
    cost = dict(zip(names, (1, 2, 3, 4, 10, 10, 10, 10, 10), strict=True))
    runs = [(parse(name), seed, cost[name] * 1e12) for name in names for seed in (0, 1)]
    found = {row.what: row for row in rivals.flops(runs)}
    assert found["Algorithm 1's search"].flops == pytest.approx(6e12) and found["Algorithm 1's search"].runs == 3
    assert found["swarm"].flops == pytest.approx(20e12) and found["swarm"].final_runs == pytest.approx(2)
    assert found["one from-scratch run"].flops == pytest.approx(10e12)
    assert found["controls and new-only models"].final_runs == pytest.approx(0.4)
    assert "schedule search" not in found, "what was not run costs nothing"
    assert np.isnan(rivals.flops(runs[:1])[0].final_runs), "no from-scratch run to compare with"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: rivals.shuffled(ORIGINAL, OPTIMISED, "pyton"), "did you mean 'python'"),
        (lambda: rivals.same_primary(ORIGINAL, dict(python=11), "python"), "the same languages"),
        (lambda: rivals.same_primary(dict(python=11), dict(python=11), "python"), "only python"),
        (lambda: rivals.same_primary(ORIGINAL, OPTIMISED | dict(go=np.inf), "python"), "finite"),
        (lambda: rivals.swarm(ORIGINAL, 0), "at least 1"),
        (lambda: rivals.flops([(parse("mixed"), 0, 1.0)]), "unknown run"),
    ],
)
def test_what_cannot_be_made_says_why(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_search_on_the_runs_that_predict_mixes_does_not_pay_for_algorithm_1s_own():
    runs = [
        ("mix_0.5000", 10.0),
        ("primary_only", 7.0),
        ("continual", 4.0),
        ("predictor_primary", 3.0),
        ("predictor", 2.0),
    ]
    with_predictor = rivals.flops([(parse(name), 0, operations) for name, operations in runs])
    without = rivals.flops([(parse(name), 0, operations) for name, operations in runs[:3]])
    assert rivals.final_runs(with_predictor, rivals.CONTINUAL) == pytest.approx(0.5)
    assert rivals.final_runs(with_predictor, (rivals.ALGORITHM1,)) == pytest.approx(1.1)
    assert rivals.final_runs(without, rivals.CONTINUAL) == pytest.approx(1.1)
