"""Measurement rows of a study that never ran, with a planted story: for tests of the analyses and of the report."""

import dataclasses
import functools
import json

import numpy as np
import pandas as pd
import pytest

from babel_jax.common import files, measurements
from babel_jax.corpus import mixture_files as mixtures
from babel_jax.evolution.mixes import Mix
from babel_jax.evolution.tasks import Tasks
from babel_jax.optimum import laws
from babel_jax.organism.world_tasks import TASKS
from babel_jax.study import analysis, facts
from babel_jax.study.findings import Findings

STEPS = np.array([0, 4, 8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768])
PRIMARY, NEW = "python", "php"
DEFINITIONS = ("lape_target", "pair_shared", "functional")


def rise(steps, half=28.0):
    return 1 - np.exp(-((np.asarray(steps) / half) ** 1.5))


def fall(steps, start=80.0, width=110.0):
    return 1 - np.exp(-np.maximum(np.asarray(steps) - start, 0) / width)


def curve_of(kind: str, steps=STEPS) -> np.ndarray:
    """Planted accuracy: `fall` rises to .96 and falls to .55, `stay` rises and stays, `flat` is .5."""
    return {
        "fall": 0.04 + 0.92 * rise(steps) - 0.41 * fall(steps),
        "stay": 0.04 + 0.95 * rise(steps),
        "monotone": np.linspace(0.05, 0.9, len(steps)),
        "flat": np.full(len(steps), 0.5),
    }[kind]


def answers(accuracy_C, problems: int, generator) -> np.ndarray:
    """0/1 answers [C, Q] with these accuracies; a problem keeps its difficulty, as real ones do."""
    difficulty_Q = generator.permutation(problems) / problems
    noise_CxQ = generator.normal(0, 0.08, (len(accuracy_C), problems))
    return (difficulty_Q + noise_CxQ < np.asarray(accuracy_C)[:, None]).astype(float)


def judged(kind: str, seeds: int = 3, problems: int = 200, steps=STEPS) -> list[np.ndarray]:
    """Answers of every seed with a planted accuracy."""
    return [answers(curve_of(kind, steps), problems, np.random.default_rng(seed)) for seed in range(seeds)]


# How much of the primary's words a new language's corpus covers, and the mix share that is best for it: the more a
# language knows itself, the less it loses.
COVERED = {"php": 0.4, "csharp": 0.6, "go": 0.8, "cpp": 1.0}
SEVERAL = tuple(COVERED)
MIX_STEPS, MIX_TOKENS = 1000, 1_000_000


def planted(seeds=3, problems=200, layers=4, steps=STEPS, control=True, new=(NEW,), replay=()) -> pd.DataFrame:
    """All rows of an organism-like study: `continual` rises and falls, `control` stays, the best mix lies inside.

    With several new languages, all of COVERED: the falls are the smaller the more of the words a language covers, and
    the last one, which covers all, does not fall. `replay`: the primary's shares of further continual runs.
    """
    writers = [Writer(seed, problems) for seed in range(seeds)]
    for writer in writers:
        for language in new:
            _continual(writer, language, f"_{language}" if len(new) > 1 else "", layers, steps, control, replay)
        writer.judge("primary_only", [MIX_STEPS], PRIMARY, answers([0.995], problems, writer.generator))
        writer.add("primary_only", MIX_STEPS, "loss", "loss", 0.75, PRIMARY, 9000)
    for name, stages in mixes(new).items():
        shares = shares_of(stages)
        for writer in writers:
            _mix(writer, f"mix_{name}", shares, layers, ordered=len(stages) > 1)
    rows = measurements.table([row for writer in writers for row in writer.rows])
    solved = pd.concat([frame for writer in writers for frame in writer.frames], ignore_index=True)
    return pd.concat([rows, _fill(solved)], ignore_index=True)


def mixes(new=(NEW,)) -> dict[str, list[dict]]:
    """The from-scratch runs of the study: stages by name. One new language: shares of its own; several: also rivals."""

    def split(primary, **factors):
        wanted = {language: factors.get(language, 1.0) for language in new}
        total = sum(wanted.values())
        others = {language: (1 - primary) * amount / total for language, amount in wanted.items()}
        return [{"tokens": 0, "weights": {PRIMARY: primary} | others}]

    if len(new) == 1:
        found = {f"{share:.4f}": split(1 - share) for share in (0.05, 0.1, 0.2, 0.35, 0.5, 0.6765, 0.8)}
        phases = [{"tokens": 800_000, "weights": {PRIMARY: 1.0}}, *split(0.05)]
        return found | {
            "algorithm1_loss": split(0.09), "algorithm1_knowledge_share": split(0.55), "unimax": split(0.5),
            "ado": split(0.3), "law": split(0.75), "schedule": phases,
        }  # fmt: skip
    found = {f"{share:.4f}": split(1 - share) for share in (0.1, 0.35, 0.6, 0.876)}
    found |= {
        "unimax": split(1 / (1 + len(new))), "temperature": split(0.3), "equal_small": split(0.7),
        "same_primary": split(0.22), "shuffled": split(0.22, php=2.0, go=0.3), "law": split(0.6, cpp=0.8),
        "ado": split(0.4), "algorithm1_loss": split(0.22, php=0.5, csharp=0.7),
        "algorithm1_knowledge_share": split(0.5, php=0.4, csharp=0.6),
        "schedule": [{"tokens": 800_000, "weights": {PRIMARY: 1.0}}, *split(0.05)],
    }  # fmt: skip
    return found | {f"swarm_{i:02d}": split(0.15 + 0.1 * i, php=1 + i, go=4 - i / 2) for i in range(0, 6, 2)}


def shares_of(stages: list[dict]) -> dict[str, float]:
    given = mixtures.amounts(stages, MIX_TOKENS)
    return {name: given[name] / MIX_TOKENS for name in given}


def mixture_files(new=(NEW,)) -> dict[str, mixtures.MixtureFile]:
    """The files of those mixes that have one: all that are no plain share."""
    return {
        name: mixtures.MixtureFile(stages, {"by": "study", "name": name}, MIX_TOKENS, {})
        for name, stages in mixes(new).items()
        if not name[0].isdigit()
    }


class Writer:
    """The rows of one seed."""

    def __init__(self, seed: int, problems: int):
        self.seed, self.problems, self.generator = seed, problems, np.random.default_rng(seed)
        self.rows, self.frames = [], []
        self.seen = {}  # tokens of a step of the run that is being written, by language

    def add(self, run, step, probe, metric, value, language=NEW, n=None, half=0.02, **more):
        options = more.pop("options", {})
        tokens = {name: int(count * step) for name, count in self.seen.items()}
        self.rows.append(
            measurements.row(
                run=run, seed=self.seed, step=int(step), probe=probe, language=language, metric=metric,
                value=float(value), n=n or self.problems, ci_low=float(value) - half, ci_high=float(value) + half,
                options=options, tokens=sum(tokens.values()), tokens_by_language=tokens, **more,
            )
        )  # fmt: skip

    def judge(self, run, run_steps, language, solved_CxQ, shared_Q=None):
        shared_Q = np.ones(self.problems, bool) if shared_Q is None else shared_Q
        for subset, mask in (("shared", shared_Q), ("transfer", ~shared_Q)):
            step, item = np.meshgrid(run_steps, np.flatnonzero(mask), indexing="ij")
            self.frames.append(
                pd.DataFrame(
                    {"run": run, "seed": self.seed, "step": step.ravel(), "probe": "evaluation", "language": language,
                     "metric": "solved", "item": item.ravel(), "value": solved_CxQ[:, mask].ravel(),
                     "options": json.dumps({"subset": subset})}
                )
            )  # fmt: skip
            for c, at in enumerate(run_steps):
                if mask.any():
                    self.add(run, at, "evaluation", "accuracy", solved_CxQ[c, mask].mean(), language, int(mask.sum()),
                             0.05, options={"subset": subset})  # fmt: skip
        for c, at in enumerate(run_steps):
            value = solved_CxQ[c].mean()
            self.add(run, at, "evaluation", "accuracy", value, language, options={"subset": "all"})


def _tasks(writer: Writer, run: str, steps, language: str, written_C) -> None:
    """Scores in all tasks beside writing: what is chosen goes as writing does from chance on, what a call returns only falls."""
    generator = np.random.default_rng([writer.seed, len(run)])
    for task in TASKS:
        for at, written in zip(steps, written_C, strict=True):
            right = 0.6 + 0.4 * written if task.name == "returns" else task.chance + (1 - task.chance) * written
            if task.name == "returns" and at < 60:
                right = 0.98
            for subset, lower in (("all", 0.0), ("shared", -0.02), ("transfer", 0.03)):
                value = np.clip(right - lower + generator.normal(0, 0.01), 0, 1)
                about = {"options": {"subset": subset}, "half": 0.05}
                writer.add(run, at, "evaluation", f"task_{task.name}", value, language, 100, **about)


def _continual(writer: Writer, new: str, suffix: str, layers: int, steps, control: bool, replays) -> None:
    """`continual` and `control` of one new language, `new_only`, and the patches at the end."""
    generator, add, problems = writer.generator, writer.add, writer.problems
    writer.seen = {PRIMARY: 0, new: 100}
    shared_Q = np.arange(problems) < round(COVERED[new] * problems)
    depends = (1 - COVERED[new]) / 0.6  # 1 for the language that the single study has
    jitter, end = generator.normal(0, 0.02), generator.normal(0.33, 0.05)
    for run in ("continual", "control") if control else ("continual",):
        name = run + suffix
        down = fall(steps) if run == "continual" else np.zeros(len(steps))
        shared = answers(0.05 + 0.94 * rise(steps), int(shared_Q.sum()), generator)
        transfer_C = 0.04 + (0.91 + jitter) * rise(steps) - (0.94 - end) * down
        transfer = answers(transfer_C, int((~shared_Q).sum()), generator)
        writer.judge(name, steps, new, np.concatenate([shared, transfer], axis=1), shared_Q)
        _tasks(writer, name, steps, new, np.clip(transfer_C, 0, 1))
        forget = 0.25 * rise(steps, 300) * (1.6 if run == "continual" else 1)
        writer.judge(name, steps, PRIMARY, answers(0.99 - forget, problems, generator), shared_Q)
        for c, at in enumerate(steps):
            own = rise(steps, 60 + 200 * jitter)[c]
            for language, first, last in ((new, 3.1, 0.62), (PRIMARY, 0.75, 1.9)):
                tilt = 0.08 * np.log1p(at / 60) / np.log1p(768 / 60)
                loss = first + (last - first) * (own * 0.95 + 0.05 * (at / 768))
                add(name, at, "loss", "loss", loss + tilt + jitter, language, 9000)
                knowing = 1.4 * first + (last - 1.2 * first) * (0.8 * own + 0.2 * at / 768) + jitter
                add(name, at, "loss", "loss_knowledge", knowing, language, 1200)
            for layer in range(1, layers + 1):
                share = (1 - (0.35 + 0.6 * layer / layers) * rise(steps, 90)[c]) * generator.uniform(0.92, 1)
                add(name, at, "lens", "argmax_coverage", 0.8, new, 480, layer=layer, options={"subset": "shared"})
                for metric, scale in (
                    ("prob", 0.5),
                    ("pair", 1.0),
                    ("argmax", 0.25),
                    ("others", 0.4),
                    ("concept", 0.6),
                ):
                    metric = "concept_share" if metric == "concept" else f"primary_share_{metric}"
                    for subset in ("shared", "transfer"):
                        add(name, at, "lens", metric, share * scale, new, 480, layer=layer, options={"subset": subset})
            for definition, first, last in zip(DEFINITIONS, (19, 420, 990), (28, 300, 700), strict=True):
                move = down[c] * depends if definition == "functional" else rise(steps, 120)[c]
                value = first + (last - first) * move + generator.normal(0, 6 if first > 30 else 3)
                add(name, at, "neurons", definition, value, new, 1024, half=8, options={"threshold": 0.5})
            for rate in (0.005, 0.01, 0.02, 0.05, 0.1):
                count = 1024 * rate * (1 + np.sign(0.015 - rate) * 0.4 * down[c]) + generator.normal(0, 1 + 40 * rate)
                add(name, at, "neurons", "lape_target_sensitivity", count, new, 1024, options={"top_rate": rate})
    if (~shared_Q).any():
        for part, value in (("none", end), ("embeddings", end - 0.09), ("ffn", end + 0.33), ("blocks", end + 0.46)):
            add(f"continual{suffix}", steps[-1], "patch", "word_accuracy", value + generator.normal(0, 0.03), new, 240,
                half=0.06, options={"subset": "transfer", "patched": part, "from_step": 80})  # fmt: skip
        for at, value in zip(steps, 0.2 + 0.75 * rise(steps) - (0.6 - end) * fall(steps), strict=True):
            add(
                f"continual{suffix}", at, "evaluation", "word_accuracy", value, new, 240, options={"subset": "transfer"}
            )
    _diagnostics(writer, new, f"continual{suffix}", steps, depends, layers)
    for replay in replays:
        writer.seen = {PRIMARY: 100 * replay / (1 - replay), new: 100}
        down = fall(steps, 80 + 400 * replay)
        shared = answers(0.05 + 0.94 * rise(steps), int(shared_Q.sum()), generator)
        transfer_C = 0.04 + (0.9 - replay) * rise(steps) - (0.9 - replay - end) * down
        transfer = answers(transfer_C, int((~shared_Q).sum()), generator)
        name = f"replay_{replay:.4f}{suffix}"
        writer.judge(name, steps, new, np.concatenate([shared, transfer], axis=1), shared_Q)
        writer.judge(name, steps, PRIMARY, answers(0.99 - (1 - replay) * forget, problems, generator), shared_Q)
    writer.judge(f"new_only{suffix}", [MIX_STEPS], new, shared_Q[None].astype(float), shared_Q)


def _diagnostics(writer: Writer, new: str, run: str, steps, depends: float, layers: int) -> None:
    """Ablations at the peak that hurt where the primary is needed, and neurons that come and go."""
    generator = writer.generator
    for neurons, serves in (("functional", "transfer"), ("functional_shared", "shared"), ("lape_target", "")):
        for kind in ("mean", "zero"):
            for subset in ("all", "transfer", "shared", "transfer - shared"):
                sign = {"transfer - shared": 1 if serves == "transfer" else -1}.get(subset, float(subset == serves))
                value = -0.03 - 0.3 * depends * sign * (neurons != "lape_target") + generator.normal(0, 0.02)
                options = {
                    "set": neurons, "kind": kind, "checkpoint": "peak", "subset": subset, "size": 50, "draws": 20,
                    "random_mean": -0.02, "random_sd": 0.02, "p": 0.05, "before": 0.9, "after": 0.9 + value,
                }  # fmt: skip
                writer.add(run, 80, "intervention", "pass_change", value, new, half=0.05, options=options)
    for definition, whole in (("functional", 300), ("lape_target", 20)):
        for c, at in enumerate(steps):
            for layer in range(1, layers + 1):
                options = {"set": f"{definition}:{new}"}
                counts = {"size": whole * (1 - 0.3 * depends * fall([at])[0]), "births": 4 + layer, "deaths": 6 + layer}
                for metric, count in counts.items():
                    if c or metric == "size":
                        writer.add(run, at, "drift", metric, round(count), new, 256, layer=layer, options=options)


def _mix(writer: Writer, run: str, shares: dict[str, float], layers: int, ordered: bool) -> None:
    """A from-scratch run at its last step: scores, losses and the lens of every language."""
    generator = writer.generator
    writer.seen = {name: share * MIX_TOKENS / MIX_STEPS for name, share in shares.items()}
    others = len(shares) - 1
    for language, share in shares.items():
        shared_Q = np.arange(writer.problems) < round(COVERED.get(language, 1.0) * writer.problems)
        if language == PRIMARY:
            accuracy = 1.1  # every mix has learned it, beyond doubt
        else:
            wide = share * others  # as if it were the only one
            accuracy = 0.3 + 0.32 * np.exp(-((wide - 0.22) ** 2) / 0.02) + 0.15 * rise(1000 * wide)
            accuracy += 0.15 * (COVERED[language] - 0.4) + 0.3 * ordered
            accuracy = np.clip(accuracy + generator.normal(0, 0.03), 0.02, 0.99)
        solved = answers([accuracy], writer.problems, generator)
        writer.judge(run, [MIX_STEPS], language, solved, shared_Q)
        if language != PRIMARY:
            _tasks(writer, run, [MIX_STEPS], language, [accuracy])
        for metric, height in (("loss", 0.6), ("loss_knowledge", 1.5)):
            loss = height + 0.9 * np.exp(-6 * share) + generator.normal(0, 0.01)
            writer.add(run, MIX_STEPS, "loss", metric, loss, language, 9000)
        if language != PRIMARY:
            for layer in range(1, layers + 1):
                value = np.clip(0.8 * shares[PRIMARY] + 0.05 + generator.normal(0, 0.02), 0, 1)
                writer.add(run, MIX_STEPS, "lens", "primary_share_pair", value, language, 480, layer=layer,
                           options={"subset": "shared"})  # fmt: skip


def changed(thing, *path, **changes):
    """A record in which something has other values: what `path`, names of attributes and keys of dicts, leads to."""
    if not path:
        return dataclasses.replace(thing, **changes)
    first, *rest = path
    if isinstance(thing, dict):
        return thing | {first: changed(thing[first], *rest, **changes)}
    return dataclasses.replace(thing, **{first: changed(getattr(thing, first), *rest, **changes)})


def with_mix(findings: Findings, name: str, **changes) -> Findings:
    """The same study with one of its from-scratch mixes changed."""
    mixes = [changed(mix, **changes) if mix.name == name else mix for mix in findings.mixes]
    return changed(findings, mixes=mixes)


def harmed(findings: Findings, name: str, language: str, part: float) -> Findings:
    """The same study, but one mix fails on the first part of one language's problems, in every seed."""
    mix = mix_named(findings, name)
    solved = [
        np.where(np.arange(len(solved_Q)) < part * len(solved_Q), 0.0, solved_Q) for solved_Q in mix.solved[language]
    ]
    score = mix.score | {language: np.array([solved_Q.mean() for solved_Q in solved])}
    return with_mix(findings, name, solved=mix.solved | {language: solved}, score=score)


def unlearned(findings: Findings, name: str, seeds=(0,)) -> Findings:
    """The same study, but in these of its seeds one mix has not learned the primary."""
    learning = mix_named(findings, name).learning
    learned_SxC = learning.learned_SxC & ~np.isin(learning.seeds, seeds)[:, None]
    return with_mix(findings, name, learning=changed(learning, learned_SxC=learned_SxC))


def empty(findings: Findings) -> Findings:
    """The same study of one language, but nothing of it was measured."""
    read = ("lens", "working_language", "beside_others", "concept_share", "language_shares")
    nothing = {name: {} for name in ("accuracy", "knowledge", "patches", *read, "neurons", "loss")}
    curves = changed(
        findings.languages[NEW].curves,
        peak_step=None, continual=None, control=None, word_accuracy=None, sensitivity=[], stages_by_seed={}, **nothing,
    )  # fmt: skip
    here = changed(
        findings.languages[NEW],
        curves=curves, dependence=None, causes=None, drift=None, chosen=None, shares={}, calibration={}, proposals={},
        observation=None, predictor=None, peak_tokens=None,
    )  # fmt: skip
    return changed(
        findings,
        languages={NEW: here}, mixes=[], comparisons=[], corpora={}, corpora_joint={}, laws=None, schedules=None,
        predicted=[], costs=[], loss_laws={}, curve_laws={}, tasks=Tasks(),
    )  # fmt: skip


def mix_named(findings: Findings, name: str) -> Mix:
    (found,) = (mix for mix in findings.mixes if mix.name == name)
    return found


def found(new=(NEW,)) -> Findings:
    """The findings of a small planted study."""
    return _found(tuple(new))


@functools.cache
def _found(new) -> Findings:
    replay = (0.05, 0.2) if len(new) == 1 else ()
    frame = planted(problems=60, layers=2, steps=STEPS[::2], new=new, replay=replay)
    described = description(frame, new=new, original_share=0.6765 if len(new) == 1 else 0.876)
    return analysed(facts.of(described), frame, mixture_files(new))


def analysed(study: facts.StudyFacts, frame: pd.DataFrame, files_of_mixes: dict | None = None) -> Findings:
    """As `analysis.of_rows`, with few replicates of the mixing laws, which are half of the work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(laws, "REPLICATES", 20)
        return analysis.of_rows(study, frame, files_of_mixes)


@functools.cache
def alone() -> tuple[facts.StudyFacts, pd.DataFrame]:
    """(facts, rows) of a small planted study of one new language, with replay; not to be changed."""
    frame = planted(problems=60, layers=2, steps=STEPS[::2], replay=(0.25,))
    return facts.of(description(frame)), frame


def _fill(frame: pd.DataFrame) -> pd.DataFrame:
    for name, (_, default) in measurements.COLUMNS.items():
        if name not in frame:
            frame[name] = default
    return frame[list(measurements.COLUMNS)].astype({name: dtype for name, (dtype, _) in measurements.COLUMNS.items()})


def real_code(seeds=1, sites=300, steps=(0, 100, 200, 400, 800, 1200)) -> pd.DataFrame:
    """Rows of a study on real code: call sites instead of problems, no control, no subsets, bits per byte."""
    frame = planted(seeds, sites, steps=np.array(steps), control=False)
    frame = frame[~frame["probe"].isin(["patch"]) & (frame["metric"] != "functional")]
    frame = frame[~((frame["metric"] == "accuracy") & ~frame["options"].str.contains("all"))]
    frame = frame[frame["metric"] != "word_accuracy"]
    frame = frame[~((frame["probe"] == "lens") & frame["options"].str.contains("transfer"))].copy()
    chosen = frame["probe"].isin(["evaluation", "lens"])
    frame.loc[chosen, "options"] = json.dumps({"subset": "all"})
    bits = frame[frame["metric"] == "loss"].assign(metric="bits_per_byte", probe="evaluation")
    bits = bits.assign(value=bits["value"] / 2, ci_low=bits["ci_low"] / 2, ci_high=bits["ci_high"] / 2)
    return pd.concat([frame, bits], ignore_index=True)


def description(frame: pd.DataFrame, kind="organism", original_share=0.6765, new=(NEW,)) -> dict:
    """The content of study.json."""
    amounts = {PRIMARY: 11.0, "php": 23.0, "csharp": 16.0, "go": 11.0, "cpp": 28.0}
    return {
        "kind": kind, "primary": PRIMARY, "new": list(new), "seeds": sorted(frame["seed"].unique().tolist()),
        "original": {language: amounts[language] for language in (PRIMARY, *new)}, "original_share": original_share,
        "runs": [
            {"run": run, "seed": int(seed), "needs": [], "steps": MIX_STEPS, "flops": 2e14}
            for run, seed in frame[["run", "seed"]].drop_duplicates().itertuples(index=False)
        ],
        "wall_seconds": {"train": 412.0, "probe": 61.5}, "versions": {"jax": "0.10.2"}, "config": {},
    }  # fmt: skip


def write_study(path, frame: pd.DataFrame, **described) -> None:
    """A study directory: study.json, mixture files and the rows, one Parquet file per run, as the study lays them out."""
    for (seed, run), part in frame.groupby(["seed", "run"]):
        measurements.write(path / f"seed{seed}" / run / "measurements" / "rows.parquet", part)
    for name, found in mixture_files(described.get("new", (NEW,))).items():
        mixtures.write(path / "mixtures" / f"{name}.json", found)
    files.write_json(path / "study.json", description(frame, **described))
