import re

import numpy as np
import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed, harmed, mix_named, unlearned, with_mix

from babel_jax.common.statistics import Effect
from babel_jax.evolution.learning import Learning
from babel_jax.evolution.mechanism import Causes, CausesVerdict
from babel_jax.study.claim import MISSING, NOT_TESTED, OPEN, REFUTED, SUPPORTED, UNTESTED
from babel_jax.study.predictions import Prediction
from babel_jax.study.verdicts import verdicts

PHP = ("languages", "php")
CURVES = (*PHP, "curves")
IDENTITY = (*PHP, "calibration", "loss", "knowledge_share", "links", "identity")


@pytest.fixture
def findings():
    """Those of a planted study."""
    return synthetic_study.found()


def judged(findings, name, language="php"):
    (found,) = (one for one in verdicts(findings) if one.name == name and one.language in (language, None))
    return found


def test_the_verdicts_are_those_of_the_planted_story(findings):
    by_name = {one.name: one for one in verdicts(findings)}
    expected = {
        "transition": SUPPORTED, "dependence": SUPPORTED, "knowledge": SUPPORTED, "patches": SUPPORTED,
        "working_language": REFUTED, "functional": SUPPORTED, "lape": OPEN, "causes": SUPPORTED, "calibration": REFUTED,
        "optimum": REFUTED, "guard": OPEN, "rivals": REFUTED, "schedule": SUPPORTED, "predicted": SUPPORTED,
        "cost": MISSING,
    }  # fmt: skip
    assert {name: by_name[name].verdict for name in expected} == expected
    assert by_name["transition"].sentence.startswith("From the peak at step 64 [")
    assert "misses the optimum" in by_name["optimum"].sentence
    assert "schedule" not in by_name["optimum"].sentence, "the best mix is one with constant shares"
    assert "It falls in the control too" in by_name["working_language"].sentence
    for one in by_name.values():
        assert one.sentence.endswith(".") and "nan" not in one.sentence


def test_every_number_of_a_verdict_is_in_its_sentence(findings):
    for one in verdicts(findings):
        if one.name != "rivals":  # counts its rivals, of which the sentence names each
            numbers = set(re.findall(r"\d[\d.,]*\d|\d", one.number))
            assert numbers <= set(re.findall(r"\d[\d.,]*\d|\d", one.sentence)), one


def test_several_languages_are_judged_each_for_itself():
    found = verdicts(synthetic_study.found(("php", "cpp")))
    by_key = {(one.name, one.language): one.verdict for one in found}
    assert by_key["transition", "php"] == SUPPORTED and by_key["transition", "cpp"] != SUPPORTED
    assert by_key["dependence", "php"] == SUPPORTED and by_key["dependence", "cpp"] == REFUTED
    assert by_key["proposal", "cpp"] == REFUTED, "a language that does not depend is left alone"
    assert by_key["cost", None] == SUPPORTED, "a law is fitted to a swarm and to a sweep"
    assert len(by_key) == len(found)


def test_a_laws_search_is_its_swarm_and_its_sweep():
    findings = synthetic_study.found(("php", "cpp"))
    costs = {cost.what: cost for cost in findings.costs}
    swarm, sweep = costs["swarm"], costs["sweep of shares"]
    theirs = swarm.final_runs + sweep.final_runs
    assert f"{theirs:.1f} times a from-scratch run" in judged(findings, "cost").sentence
    for flops, expected in ((swarm.flops + 1, SUPPORTED), (swarm.flops + sweep.flops + 1, REFUTED)):
        ours = changed(costs["Algorithm 1's search"], flops=flops)
        assert judged(changed(findings, costs=[ours, swarm, sweep]), "cost").verdict == expected


def test_differences_have_their_intervals(findings):
    curves = findings.languages["php"].curves
    last = {part: curves.patches[part].last() for part in ("none", "embeddings", "blocks")}
    over = {part: last["blocks"].minus(last[part]).value for part in ("none", "embeddings")}
    sentence = judged(findings, "patches").sentence.replace("\N{NO-BREAK SPACE}", " ")
    assert abs(over["none"] - over["embeddings"]) > 0.05
    assert f"The blocks add +{100 * over['none']:.1f} points" in sentence
    assert f"+{100 * over['embeddings']:.1f} points" in sentence[sentence.index("The blocks") + 30 :]
    sentence = judged(findings, "functional").sentence.replace("\N{NO-BREAK SPACE}", " ")
    fall, low, high = map(int, re.search(r"by (\d+) \[(\d+), (\d+)\]; in", sentence).groups())
    assert low < fall < high
    end = curves.concept_share["continual"].end()
    assert f"to +{100 * end.value:.1f}\N{NO-BREAK SPACE}points [+" in judged(findings, "working_language").number


def test_what_was_not_measured_is_said_to_be_missing(findings):
    """Nothing but an unanalysed language and no mix: every verdict still is a sentence."""
    found = verdicts(synthetic_study.empty(findings))
    assert {one.verdict for one in found} == {MISSING}
    assert all(one.sentence and one.number == "" for one in found)


def test_the_working_language_is_judged_by_its_difference_to_other_pairs(findings):
    """Planted: 0.6 of the share is about the concept. What is left where nothing is, and where other pairs were not read."""
    curves = findings.languages["php"].curves
    sentence = judged(findings, "working_language").sentence.replace("\N{NO-BREAK SPACE}", " ")
    for of in (curves.concept_share["continual"].first(), curves.concept_share["control"].end()):
        assert f"+{100 * of.value:.1f} points" in sentence
    assert f"{100 * curves.beside_others['continual'].end().value:.0f} %" in sentence
    old = judged(changed(findings, *CURVES, beside_others={}, concept_share={}), "working_language")
    assert old.verdict == NOT_TESTED and "Other pairs' identifiers were not read" in old.sentence
    assert f"{100 * curves.working_language['continual'].end().value:.0f}" in old.number
    around = {
        run: changed(curve, mean=0 * curve.mean, low=0 * curve.low - 0.1, high=0 * curve.high + 0.1)
        for run, curve in curves.concept_share.items()
    }
    prior = judged(changed(findings, *CURVES, concept_share=around), "working_language")
    assert prior.verdict == OPEN and "whatever they are asked for" in prior.sentence
    stays = {
        **curves.concept_share,
        "control": changed(
            curves.concept_share["continual"], value_SxC=1 + 0 * curves.concept_share["continual"].value_SxC
        ),
    }
    open_one = judged(changed(findings, *CURVES, concept_share=stays), "working_language")
    assert open_one.verdict == OPEN and "In the control it ends at +100" in open_one.sentence
    alone = {"continual": curves.concept_share["continual"]}
    assert "no control" in judged(changed(findings, *CURVES, concept_share=alone), "working_language").sentence


@pytest.mark.parametrize(
    "verdict, expected", [("transition", REFUTED), ("rises and stays", SUPPORTED), ("undecided", OPEN)]
)
def test_a_control_that_falls_is_not_hidden(findings, verdict, expected):
    found = judged(changed(findings, *CURVES, "control", verdict=verdict), "control")
    assert found.verdict == expected and ("It declines too" in found.sentence) == (expected == REFUTED)


@pytest.mark.parametrize(
    "verdict, expected, words_of_it",
    [("rises and stays", REFUTED, "No transition seen"), ("undecided", OPEN, "cannot tell")],
)
def test_without_a_transition_none_is_claimed(findings, verdict, expected, words_of_it):
    found = judged(changed(findings, *CURVES, "continual", verdict=verdict), "transition")
    assert found.verdict == expected and words_of_it in found.sentence


def causes(matters, specific):
    return Causes([], CausesVerdict(Effect(0, matters, 0.01), Effect(0, specific, 0.01), None))


@pytest.mark.parametrize(
    "matters, specific, expected",
    [
        ([-0.4, -0.2], [-0.3, -0.1], SUPPORTED),
        ([-0.4, -0.2], [-0.3, 0.1], OPEN),
        ([-0.1, 0.1], [-0.3, -0.1], OPEN),
        ([0.1, 0.2], [0.1, 0.2], REFUTED),
    ],
)
def test_causes_need_both_harm_and_specificity(findings, matters, specific, expected):
    findings = changed(findings, *PHP, causes=causes(matters, specific))
    assert judged(findings, "causes").verdict == expected


def with_scores(findings, name, change):
    """The same study with the new language's scores of one mix changed."""
    score = mix_named(findings, name).score
    return with_mix(findings, name, score=score | {"php": np.clip(score["php"] + change, 0, 1)})


def test_a_mix_that_hits_is_not_called_a_miss(findings):
    verdict = judged(with_scores(findings, "algorithm1_loss", 0.5), "optimum")
    assert verdict.verdict == SUPPORTED and "misses" not in verdict.sentence


def test_a_best_checkpoint_at_the_end_is_no_test_of_algorithm_1(findings):
    proposals = findings.languages["php"].proposals
    proposals = {source: changed(proposal, p_star=0.0) for source, proposal in proposals.items()}
    mixes = [changed(mix, score=mix.score | {"php": np.full(3, 0.5)}) for mix in findings.mixes]
    comparisons = [changed(pair, value=0.0, ci=(-0.1, 0.1)) for pair in findings.comparisons]
    findings = changed(changed(findings, *PHP, proposals=proposals), mixes=mixes, comparisons=comparisons)
    for name in ("optimum", "original"):
        assert judged(findings, name).verdict == NOT_TESTED and UNTESTED in judged(findings, name).sentence


@pytest.mark.parametrize("change, expected", [(0.4, REFUTED), (-0.5, SUPPORTED)])
def test_the_schedule_is_judged_against_the_best_static_mix(findings, change, expected):
    findings = with_scores(findings, "0.2000", change)
    if expected == REFUTED:
        findings = with_scores(findings, "schedule", -0.5)
    verdict = judged(findings, "schedule")
    assert verdict.verdict == expected and "constant shares" in verdict.sentence


def test_the_guard_names_the_harmed_language(findings):
    verdict = judged(harmed(findings, "algorithm1_loss", "python", 0.2), "guard")
    assert verdict.verdict == REFUTED and verdict.number.startswith("Python")


@pytest.mark.parametrize("change, expected", [([0.3, -0.3, 0.0], OPEN), ([0.01, 0.011, 0.012], SUPPORTED)])
def test_a_wide_interval_is_no_proof_that_nothing_is_harmed(findings, change, expected):
    """Half the seeds of one language better, half worse: no harm is shown, and none is ruled out."""
    first = mix_named(findings, "0.6765")
    score = {language: score_S + np.array(change) for language, score_S in first.score.items()}
    findings = with_mix(findings, "algorithm1_loss", score=score, solved=first.solved)  # problems are not what is wide
    assert judged(findings, "guard").verdict == expected


def test_only_mixes_of_equal_length_and_with_all_seeds_are_ranked(findings):
    """A mix that was trained for longer, or on one lucky seed, is no rival of those that were not."""
    before = {name: judged(findings, name) for name in ("optimum", "schedule")}
    best = mix_named(findings, "0.0500")
    perfect = changed(best, score={language: np.ones(3) for language in best.score}, macro=np.ones(3))
    longer = changed(perfect, name="algorithm1_loss_equal_epochs", steps=3 * best.steps)
    lucky = changed(best, name="swarm_00", seeds=[0], macro=np.ones(1))
    lucky = changed(lucky, score={language: np.ones(1) for language in best.score})
    findings = changed(findings, mixes=[*findings.mixes, longer, lucky])
    assert {name: judged(findings, name) for name in before} == before


FROM_SCRATCH = ("optimum", "original", "rivals", "guard", "schedule")


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_a_mix_that_has_not_learned_the_primary_is_not_compared(findings, name):
    """Where the one run on trial has not left the plateau, the verdict is that nothing was tested."""
    mix = "schedule" if name == "schedule" else "algorithm1_loss"
    found = judged(unlearned(findings, mix, seeds=(1,)), name)
    assert found.verdict == NOT_TESTED and found.number == ""
    assert re.search(r"^1 of \d+ runs had not learned Python; train longer\. ", found.sentence)
    assert "95\N{NO-BREAK SPACE}% of the accuracy that the primary-only run has in the same seed" in found.sentence


def test_rivals_that_have_not_learned_the_primary_are_left_out(findings):
    before, poor = judged(findings, "rivals"), unlearned(findings, "unimax", seeds=(0, 2))
    after = judged(poor, "rivals")
    assert "UniMax" not in before.sentence.split("Left out")[0] or before.number != after.number
    assert after.sentence.endswith("Left out, for they had not learned Python: UniMax (2 of 3 runs).")
    assert judged(poor, "original") == judged(findings, "original"), "it needs two mixes alone"
    assert "UniMax (2 of 3 runs)" in judged(poor, "optimum").sentence
    assert "UniMax (2 of 3 runs)" in judged(poor, "schedule").sentence
    for rival in ("unimax", "law", "ado"):
        findings = unlearned(findings, rival)
    assert judged(findings, "rivals").verdict == NOT_TESTED, "no rival is left"


def test_laws_and_shares_go_by_mixes_that_have_learned_the_primary():
    findings = synthetic_study.found(("php", "cpp"))
    assert judged(findings, "law").verdict != NOT_TESTED
    poor = unlearned(findings, "0.3500")
    assert judged(poor, "law").verdict == NOT_TESTED and "1 of 21 runs" in judged(poor, "law").sentence
    assert "Left out" in judged(poor, "predicted").sentence
    for mix in findings.mixes:
        poor = unlearned(poor, mix.name, mix.seeds)
    assert judged(poor, "predicted").verdict == NOT_TESTED


def followed(findings, name, first):
    """The same study, with checkpoints of a mix that say when each seed had learned the primary (0: at none)."""
    steps = np.array([100, 200, 400])
    learned_SxC = np.array([[0 < step <= at for at in steps] for step in first])
    return with_mix(findings, name, learning=Learning(mix_named(findings, name).seeds, steps, learned_SxC))


def test_how_soon_a_mix_learns_is_an_outcome_of_its_own(findings):
    assert judged(findings, "sooner").verdict == MISSING, "only the last checkpoint was measured"
    late = followed(followed(findings, "0.6765", (400, 400, 400)), "algorithm1_loss", (200, 200, 100))
    found = judged(late, "sooner")
    assert found.verdict == SUPPORTED and found.number.startswith("−233 steps [")
    assert "has learned Python by step 400, the optimised one" in found.sentence and "3 seeds" in found.sentence
    assert judged(followed(late, "algorithm1_loss", (400, 100, 400)), "sooner").verdict == OPEN
    never = followed(late, "0.6765", (0, 400, 400))
    assert "1 that had not by its last step count as that step" in judged(never, "sooner").sentence
    steps = mix_named(findings, "0.6765").steps
    assert f"has learned Python by step {(steps + 800) / 3:,.0f}, the optimised one" in judged(never, "sooner").sentence
    both = followed(followed(late, "0.6765", (0, 0, 0)), "algorithm1_loss", (0, 0, 0))
    assert judged(both, "sooner").verdict == NOT_TESTED and "6 of 6 runs" in judged(both, "sooner").sentence


def test_a_mix_that_was_predicted_says_so(findings):
    prediction = Prediction("algorithm1_loss", "1a2b3c4d" * 8, "0" * 64, "2026-11-30T15:09:20Z")
    cited = "Predicted on 2026-11-30 (sha256 1a2b3c4d…), before the mix was trained."
    told = changed(findings, predictions={"algorithm1_loss": prediction})
    for name in ("original", "rivals", "optimum"):
        assert judged(told, name).sentence.endswith(cited) and cited not in judged(findings, name).sentence


def test_rivals_are_corrected_for_their_number(findings):
    """Each alone would be ahead; of so many one may be by luck."""
    pairs = [mix.name for mix in findings.mixes if mix.name in ("unimax", "law", "ado")]
    before = judged(findings, "rivals")
    assert f"{len(pairs)} comparisons, corrected for their number (Holm)" in before.sentence
    noisy = findings
    for name in pairs:  # ahead of each by 20 points, with an interval that hardly leaves zero out
        first = mix_named(findings, "algorithm1_loss")
        score = {language: score_S - np.array([0.12, 0.2, 0.28]) for language, score_S in first.score.items()}
        noisy = with_mix(noisy, name, score=score, solved=first.solved)
    pair = noisy.between("unimax", "algorithm1_loss")
    assert pair.ci[0] > 0 and 0.05 / 3 < pair.p < 0.05
    assert judged(noisy, "rivals").verdict == OPEN and judged(noisy, "rivals").number.startswith("ahead of 0")


def test_the_optimised_mix_is_the_first_that_was_trained(findings):
    assert findings.optimised_name == "algorithm1_loss"
    for name in ("algorithm1_calibrated", "peak_tokens"):
        findings = changed(findings, mixes=[*findings.mixes, changed(mix_named(findings, "unimax"), name=name)])
        assert findings.optimised_name == name


def test_no_score_above_chance_means_no_verdict(findings):
    low = changed(findings, *CURVES, above_chance=False, chance=0.25)
    of_language = [one for one in verdicts(low) if one.language]
    assert {one.verdict for one in of_language} == {NOT_TESTED}
    assert all("chance, which is 25" in one.sentence for one in of_language)


def test_without_a_run_of_the_primary_alone_nothing_is_compared(findings):
    mixes = [changed(mix, learning=None) for mix in findings.mixes]
    found = judged(changed(findings, mixes=mixes, bar=None), "original")
    assert found.verdict == NOT_TESTED and found.sentence.startswith("It is not known whether")


def test_a_share_that_is_worse_than_a_mean_has_no_number_for_it(findings):
    for r2, said in ((-3145.5, "(R2 below 0, "), (0.5, "(R2 0.50, ")):
        assert said in judged(changed(findings, *IDENTITY, r2=r2), "calibration").sentence
    # The share stays the same: P(l) may be near it, and follows nothing.
    verdict = judged(changed(findings, *IDENTITY, r2=np.nan), "calibration")
    assert verdict.verdict == "undecided" and verdict.number == "" and "nothing to follow" in verdict.sentence


def test_a_control_that_falls_a_little_is_said_to(findings):
    """The number may lie surely above 0 and still be no transition: the threshold is named."""
    verdict = judged(findings, "control")
    assert verdict.claim == "The control shows no transition" and "less than 5 points" in verdict.sentence


def test_one_seed_speaks_of_itself_alone(findings):
    alone = changed(findings, "study", seeds=[0])
    assert "one seed: nothing is known about others" in judged(alone, "patches").sentence
