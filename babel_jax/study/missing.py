"""What a study lacks, in full sentences: runs, checkpoints, judged problems, seeds."""

import collections
import dataclasses

import numpy as np

from babel_jax.common import run_names
from babel_jax.evolution.mixes import Mix
from babel_jax.evolution.selection import select
from babel_jax.study import candidates
from babel_jax.study.facts import StudyFacts


def of_study(study: StudyFacts, frame) -> list[str]:
    """What a study should have and does not, in sentences. `frame`: its measurement rows."""
    there = collections.defaultdict(set)
    for run, seed in frame[["run", "seed"]].drop_duplicates().itertuples(index=False):
        there[str(run)].add(int(seed))
    planned = collections.defaultdict(set)
    for run in study.runs:
        if run.name.role != "primary_climb":
            planned[str(run.name)].add(run.seed)
    sentences = []
    for run, seeds in planned.items():
        if gone := sorted(seeds - there[run]):
            sentences.append(f"Run {run} has no measurements of seed {', '.join(map(str, gone))}; run the study again.")
    sentences += _untrained(study, planned)
    for language in study.new:
        for role, what in (("control", "what causes the decline"), ("new_only", "the knowledge share")):
            if study.run_name(role, language) not in there:
                sentences.append(f"There is no {role} run in {language}, so nothing is known about {what}.")
        sentences += _checkpoints(frame, study.run_name("continual", language), language)
    losses = frame[frame["metric"].isin(["loss", "loss_knowledge"]).to_numpy(bool)]
    for run in losses.loc[~np.isfinite(losses["value"].to_numpy(float)), "run"].unique():
        sentences.append(f"Run {run} has a loss that is not a number; it has diverged.")
    if len(study.seeds) == 1:
        sentences.append("There is one seed: intervals speak about its problems, not about other seeds.")
    return sentences


def _untrained(study: StudyFacts, planned) -> list[str]:
    """The candidates of which no mix was trained, in sentences."""
    sentences = []
    for name in map(run_names.mix, study.candidates):
        if str(name) in planned:
            continue
        reason = "it changes nothing, or what it is made from is missing"
        if name.equal_epochs and str(dataclasses.replace(name, equal_epochs=False)) in planned:
            reason = f"to show {study.primary} as often, it would take {candidates.LONGEST:g} times the steps or more"
        sentences.append(f"Mix {name.mix} was not trained: {reason}.")
    return sentences


def _checkpoints(frame, run: str, language: str) -> list[str]:
    rows = select(frame, run=run)
    judged = rows[((rows["metric"] == "solved") & (rows["language"] == language)).to_numpy(bool)]
    if len(rows) and judged.empty:
        return [f"No problem was judged in {language} in run {run}: no stages, and nothing for Algorithm 1."]
    steps_of = {seed: set(part["step"]) for seed, part in judged.groupby("seed")}
    common = set.intersection(*steps_of.values()) if steps_of else set()
    every = set().union(*steps_of.values())
    sentences = [
        f"Run {run} of seed {seed} lacks checkpoints that another seed has: {', '.join(map(str, sorted(every - steps)))}; "
        "they are left out of all."
        for seed, steps in steps_of.items()
        if every - steps
    ]
    if len(common) < 3:
        sentences.append(
            f"The continual run in {language} has {len(common)} measured checkpoints; stages need at least 3."
        )
    return sentences


def mixes_left_out(frame, measured: list[Mix]) -> list[str]:
    """The mixes that were measured and are not compared, in sentences."""
    names = {str(run): run_names.parse(str(run)) for run in frame["run"].unique()}
    there = {run for run, name in names.items() if name.role == "mix" and name.mix}
    return [
        f"Run {run} is left out of the comparisons: in some seed or language its last checkpoint was not judged."
        for run in sorted(there - {mix.run for mix in measured})
    ]
