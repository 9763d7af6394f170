"""What a probe has written, read back as curves."""

import numpy as np
import pandas as pd
import pytest
from helpers import planted_probe

from babel_jax.common.errors import UserError
from babel_jax.evolution import probe_findings

pytestmark = pytest.mark.filterwarnings("ignore:only .* of the .* neurons", "error::RuntimeWarning")


def test_one_seed_keeps_the_intervals_of_its_rows(tmp_path):
    planted_probe.write(tmp_path)
    findings = probe_findings.read(tmp_path)
    (branch,) = findings.branches
    assert (findings.primary, findings.languages, findings.by_tokens) == ("python", ["python", "php"], True)
    assert branch.at_C.tolist() == [0, 10**7, 10**8] and branch.steps_C.tolist() == [0, 10, 100]
    loss = branch.losses["bits_per_byte", "php"]
    assert loss.steps.tolist() == branch.at_C.tolist()
    assert loss.last().value == pytest.approx(3.217 - 0.638 + 0.123) and loss.last().ci == pytest.approx((2.602, 2.802))
    assert len(branch.lens["primary_share_pair", "php"]) == planted_probe.LAYERS == branch.layers
    assert branch.lens["concept_share", "php"][2].last().value == pytest.approx(0.51 - 0.59), "it may be below 0"
    assert branch.lens["concept_share", "php"][2].last().ci[0] < -0.1
    assert branch.working_layers == "1..2" and branch.working["primary_share_pair", "php"].first().value == 0.93
    assert branch.aligned["php"].last().value == pytest.approx(0.71) and branch.aligned_chance == {"php": 0.05}
    assert branch.seeds == [0] and branch.record["model"]["family"] == "llama"


def test_seeds_are_one_branch_with_intervals_over_them(tmp_path):
    for seed in (0, 1, 2):
        planted_probe.write(tmp_path, group=f"seed{seed}", seed=seed)
    (branch,) = probe_findings.read(tmp_path).branches
    assert branch.seeds == [0, 1, 2]
    assert branch.losses["loss", "php"].interval == "Student t over 3 seeds"
    counts = branch.neurons["lape_target", "php"]
    assert counts.value_SxC.shape == (3, 3) and (counts.low >= 0).all()
    cause = next(
        one for one in branch.causes if (one.neurons, one.language, one.metric) == ("php", "php", "loss_change")
    )
    assert cause.change.value == pytest.approx(0.0731) and cause.random.value == pytest.approx(0.005)
    assert cause.difference.value == pytest.approx(0.0681)


def test_numbers_of_neurons_are_those_of_the_rows(tmp_path):
    planted_probe.write(tmp_path)
    (branch,) = probe_findings.read(tmp_path).branches
    rows = pd.concat(pd.read_parquet(path) for path in sorted(tmp_path.rglob("*.parquet")))
    of = rows[(rows["metric"] == "pair_shared") & (rows["layer"] == -1)]
    assert branch.neurons["pair_shared", "php"].mean.tolist() == of["value"].tolist()
    sizes = np.array([layer.mean for layer in branch.layers_of_neurons["pair_shared", "php"]]).sum(axis=0)
    assert sizes.tolist() == of["value"].tolist()
    flow = branch.flows["pair_shared:php"]
    assert np.isnan(flow.births_C[0]) and np.diff(flow.size_C).tolist() == (flow.births_C - flow.deaths_C)[1:].tolist()
    for (_, _, varied), of_at in branch.sensitivity.items():
        assert len(of_at) == 3 and varied in ("top_rate", "filter_rate", "entropy")
    usual = branch.sensitivity["pair_shared", "php", "filter_rate"][-1]
    assert usual.mean[np.isclose(usual.steps, 0.95)].tolist() == [of["value"].iloc[-1]]
    one = next(one for one in branch.overlaps if one.first == "pair_shared:php" and one.second == "lape_target:php")
    assert 0 <= one.random < 1 and (np.isnan(one.jaccard.value) or 0 <= one.jaccard.value <= 1)


def test_a_map_has_the_mean_of_each_pairs_prompts(tmp_path):
    planted_probe.write(tmp_path)
    (branch,) = probe_findings.read(tmp_path).branches
    one = branch.maps["php"]
    assert one.share_CxLxP.shape == (3, planted_probe.LAYERS, planted_probe.PAIRS)
    arrays = np.load(tmp_path / "seed0/pretrain/step_00000010.npz")
    log_odds_LxN = arrays["php.primary_log_prob_LxN"].astype(float) - arrays["php.new_log_prob_LxN"]
    wanted_LxP = (1 / (1 + np.exp(-log_odds_LxN))).reshape(planted_probe.LAYERS, planted_probe.PAIRS, -1).mean(-1)
    np.testing.assert_allclose(one.share_CxLxP[1], wanted_LxP, rtol=1e-6)
    assert one.pairs[0]["new"] == "strlen"


def test_branches_of_a_series_stand_apart(tmp_path):
    about = {"phase": "pretrain", "parent": None}
    planted_probe.write(tmp_path, group="Thing", steps=(1000, 2000, 3000), about=about)
    about = {"phase": "anneal", "parent": {"run": "pretrain", "step": 3000}}
    planted_probe.write(tmp_path, run="anneal", group="Thing", steps=(3100, 3200), about=about)
    first, second = probe_findings.read(tmp_path).branches
    assert (first.name, first.parent, len(first.at_C)) == ("pretrain", "", 3)
    assert (second.name, second.parent, len(second.at_C)) == ("anneal", "pretrain at step 3,000", 2)


def test_two_models_of_one_name_are_no_seeds_of_each_other(tmp_path):
    planted_probe.write(tmp_path, group="large", about={"model": "one"}, steps=(1,))
    planted_probe.write(tmp_path, group="small", seed=1, about={"model": "other"}, steps=(1,))
    assert [one.name for one in probe_findings.read(tmp_path).branches] == ["large/pretrain", "small/pretrain"]


def test_without_tokens_checkpoints_stand_by_their_steps(tmp_path):
    planted_probe.write(tmp_path, tokens=False, prompts=False, causes=False)
    findings = probe_findings.read(tmp_path)
    (branch,) = findings.branches
    assert not findings.by_tokens and branch.at_C.tolist() == [0, 10, 100]
    assert not (branch.lens or branch.maps or branch.causes or branch.alignment)


def test_what_is_no_probe_is_refused_in_a_line(tmp_path):
    with pytest.raises(UserError, match="no finished probe"):
        probe_findings.read(tmp_path)
    assert not probe_findings.is_probe(tmp_path)
    planted_probe.write(tmp_path, steps=(1,))
    planted_probe.write(tmp_path, run="other", languages=("php", "python"), steps=(1,))
    assert probe_findings.is_probe(tmp_path)
    with pytest.raises(UserError, match="php and python; keep them in two folders"):
        probe_findings.read(tmp_path)
