import dataclasses
import json
import re

import numpy as np
import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed, mix_named, unlearned, with_mix

from babel_jax.evolution.learning import Learning
from babel_jax.report import summary
from babel_jax.report.terminal import terminal_table
from babel_jax.study.verdicts import verdicts

LANGUAGE = {
    "accuracy": {"start": 0, "peak": {"step": 0, "value": 0, "ci": 0}, "end": {"value": 0, "ci": 0},
                 "decline": {"value": 0, "ci": 0}},
    "chance": {"level": 0, "above": 0},
    "control": {"end": {"value": 0, "ci": 0}, "stages": 0},
    "stages": 0, "stages_verdict": 0, "dependence": 0,
    "knowledge_share": {"ceiling": 0, "at_peak": 0, "end": 0},
    "working_language": {f"{of}_{at}": 0 for of in ("primary_share", "others", "concept_share")
                         for at in ("start", "peak", "end")}
                        | {"concept_share_end_ci": 0, "concept_share_control_end": 0, "languages": 0, "layers": 0},
    "transferring_neurons": {definition: {"peak": 0, "end": 0, "control_end": 0}
                             for definition in ("lape_target", "pair_shared", "functional")},
    "patches": {"embeddings": 0, "blocks": 0, "ffn": 0},
    "causes": 0, "calibration": 0, "proposals": 0,
}  # fmt: skip
KEYS = {
    "primary", "new", "seeds", "languages", "bar", "predictions", "corpora", "corpora_joint", "mixes", "comparisons",
    "laws", "loss_laws", "curve_laws",
    "schedules", "predicted", "costs", "tasks", "missing", "verdicts", "wall_seconds", "versions",
}  # fmt: skip


def keys(schema, thing):
    """Both have the same keys, down to the leaves of the schema."""
    if isinstance(schema, dict):
        assert set(thing) == set(schema)
        for name in schema:
            keys(schema[name], thing[name])


def summed(findings):
    return summary.summary(findings, verdicts(findings))


@pytest.fixture
def findings():
    return synthetic_study.found()


def test_tasks_have_their_three_numbers_and_mixes_their_scores(findings):
    tasks, curve = summed(findings)["tasks"], findings.tasks.curves["php", "continual", "comment", "all"]
    told = tasks["languages"]["php"]["comment"]
    assert told["start"] == round(curve.mean[0], 6) and told["peak"] > told["end"] < told["control_end"]
    assert set(tasks["mixes"]["unimax"]) == {"writing", "port", "returns", "comment", "changed"}
    assert tasks["mixes"]["unimax"]["port"]["ci"]


@pytest.mark.parametrize("languages", [("php",), ("php", "cpp")])
def test_the_keys_are_the_documented_ones_and_it_is_json(languages):
    result = summed(synthetic_study.found(languages))
    assert set(result) == KEYS and result["new"] == list(languages)
    for language in languages:
        keys(LANGUAGE, result["languages"][language])
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    readings = {corpus["reading"] for corpus in result["corpora_joint"].values() if corpus}
    assert readings == ({"joint"} if len(languages) > 1 else set())
    documented = set(re.findall(r"`(?:….)?(\w+)(?:\.<new>.\w+)?`", summary.__doc__))
    assert documented >= KEYS | set(LANGUAGE) - {"accuracy"}


def test_the_numbers_are_those_of_the_findings(findings):
    result, found = summed(findings), findings.languages["php"]
    here = result["languages"]["php"]
    assert here["accuracy"]["decline"]["value"] == round(found.stages.decline.value, 6)
    assert here["stages"]["transition"][0] == here["accuracy"]["peak"]["step"] == here["stages_verdict"]["peak"]["step"]
    assert here["proposals"]["loss"]["p_star"] == round(found.proposals["loss"].p_star, 6)
    assert here["patches"]["blocks"] > here["patches"]["embeddings"] + 0.3
    assert result["verdicts"] == [dataclasses.asdict(one) for one in verdicts(findings)]
    best = max(result["mixes"], key=lambda mix: mix["macro"]["value"])
    assert best["name"] == "schedule" and best["macro"]["ci"][0] < best["macro"]["value"]


def test_nothing_measured_is_null_under_the_same_keys(findings):
    empty = synthetic_study.empty(findings)
    result = summed(empty)
    assert set(result) == KEYS
    keys(LANGUAGE, result["languages"]["php"])
    assert result["languages"]["php"]["accuracy"]["peak"] == {"step": None, "value": None, "ci": None}
    table = terminal_table(empty)
    assert "not measured" in table and "not tested" in table and "from scratch" not in table


def test_what_was_learned_how_soon_is_there_for_each_mix(findings):
    seeds = mix_named(findings, "unimax").seeds
    learning = Learning(seeds, np.array([200, 400]), np.array([[False, True], [True, True], [False, False]]))
    findings = with_mix(findings, "unimax", learning=learning)
    result = summed(findings)
    (mix,) = (mix for mix in result["mixes"] if mix["name"] == "unimax")
    by_seed = dict(zip(map(str, seeds), (400, 200, None), strict=True))
    assert mix["learned"] == {
        "runs": 2, "of": 3, "step": {"value": None, "ci": None}, "by_seed": by_seed, "checkpoints": [200, 400],
    }  # fmt: skip
    assert result["bar"]["source"] == "the primary-only run" and result["bar"]["measure"] == "accuracy"
    tested = {pair["second"]: pair["tested"] for pair in result["comparisons"] if pair["kind"] == "mix"}
    assert not tested["unimax"] and tested["law"]
    assert " primary not learned" in terminal_table(unlearned(findings, "algorithm1_loss"))


def test_the_terminal_leads_with_text_and_lens_where_no_score_is_above_chance(findings):
    low = changed(findings, "languages", "php", "curves", above_chance=False)
    lines = terminal_table(low).split("from scratch")[0]
    assert "no score above chance" in lines and "loss in nats a token: start, end" in lines
    assert "working language: start" in lines and "P*" not in lines and "decline" not in lines


def test_numbers_without_a_value_become_null(findings):
    proposal = ("languages", "php", "proposals", "loss")
    findings = changed(findings, *proposal, tokens=np.inf, tokens_ci=(np.nan, np.nan))
    found = summed(findings)["languages"]["php"]["proposals"]["loss"]
    assert found["tokens"] is None and found["tokens_ci"] is None


@pytest.mark.parametrize("languages", [("php",), ("php", "cpp")])
def test_terminal_table_fits_and_names_the_numbers(languages):
    findings = synthetic_study.found(languages)
    lines = terminal_table(findings).splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert f"{findings.languages['php'].stages.peak.value:.3f}" in text and "transition in steps" in text
    assert ("no transition seen" in text) == ("cpp" in languages) and "Algorithm 1, loss" in text
    assert text.count("accuracy: start") == len(languages)
