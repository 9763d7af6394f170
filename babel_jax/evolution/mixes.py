"""The from-scratch mixes of a study at their last step, and when they had learned the primary."""

import dataclasses
import json

import numpy as np
import pandas as pd

from babel_jax.common import run_names, statistics
from babel_jax.common.run_names import RunName
from babel_jax.common.statistics import Estimate
from babel_jax.corpus.mixture_files import MixtureFile
from babel_jax.evolution.learning import Bar, Learning, learning
from babel_jax.evolution.selection import Solved, at_last_step, select, solved

MACRO = "macro"  # the mean score of all languages


@dataclasses.dataclass(frozen=True)
class Mix:
    """A from-scratch run at its last step.

    Attributes:
      name: among the mixes; run: the whole name of its run.
      seeds: S of them.
      score: {language: [S]}.
      macro: [S], the mean score of all languages.
      solved: {language: one [Q] of 0/1 a seed}; {} where answers are not known.
      made: by what, and from what, as its mixture file says; None: it has none.
      stages: as a config has them.
      tokens, steps: of the run.
      shares: {language: of the tokens seen, mean of the seeds}.
      primary_share: {new language: [S]}, the mean pairwise lens of the intermediate layers.
      learning: when its runs had learned the primary; None where it is not known what that takes.
      chance: {language: of a right answer}, where answers are chosen among several.
      loss: {language: [S]}, of held-out text in nats a token, NaN where a seed has none; {}: not measured.
    """

    name: str
    seeds: list[int]
    score: dict[str, np.ndarray]
    macro: np.ndarray
    run: str = ""
    made: dict | None = None
    stages: list[dict] = dataclasses.field(default_factory=list)
    tokens: int = 0
    steps: int = 0
    shares: dict[str, float] = dataclasses.field(default_factory=dict)
    solved: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    primary_share: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    learning: Learning | None = None
    loss: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    chance: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def run_name(self) -> RunName:
        return run_names.mix(self.name)

    @property
    def is_static(self) -> bool:
        """Whether it has the same shares from its first step to its last."""
        return len(self.stages) <= 1 and not self.run_name.is_online

    @property
    def learned_primary_S(self) -> np.ndarray:
        """Whether each of its runs had learned the primary at its end, [S]; False where that is not known."""
        if self.learning is None:
            return np.zeros(len(self.seeds), bool)
        learned = dict(zip(self.learning.seeds, self.learning.at_end_S, strict=True))
        return np.array([learned.get(seed, False) for seed in self.seeds], bool)

    def score_S(self, score: str) -> np.ndarray:
        """Its accuracy in each seed, in a language or on average over all of them (MACRO); NaN where it was not judged."""
        return self.macro if score == MACRO else self.score.get(score, np.full(len(self.seeds), np.nan))

    def estimate(self, score: str) -> Estimate:
        """The same over seeds."""
        value, *ci = (float(number) for number in statistics.student(self.score_S(score)))
        return Estimate(value, tuple(ci))


def mixes(
    frame: pd.DataFrame,
    languages: list[str],
    files_of: dict[str, MixtureFile] | None = None,
    bar: Bar | None = None,
) -> list[Mix]:
    """The from-scratch mixes, in the order of their names; only what is measured in every seed that has begun.

    Args:
      languages: the primary, then the new ones.
      files_of: by name, the mixture file of a mix: its stages, and who made them.
      bar: what a run that has learned the primary reaches; None: it is not known.
    """
    measured = []
    for run, rows in frame.groupby("run", observed=True):
        name = run_names.parse(str(run))
        if name.role != "mix" or not name.mix:
            continue
        last = at_last_step(rows)
        judged = {language: solved(last, run, language) for language in languages}
        if _judged_alike(list(judged.values())):
            mix = _mix(str(run), name.mix, last, judged, (files_of or {}).get(name.mix))
            learned = bar and learning(rows, str(run), languages[0], bar)
            measured.append(dataclasses.replace(mix, learning=learned))
    return measured


def _judged_alike(judged: list[Solved | None]) -> bool:
    """Whether all languages were judged, once, in the same seeds."""
    first = judged[0]
    return first is not None and all(
        part is not None and part.seeds == first.seeds and len(part.steps) == 1 for part in judged
    )


def _mix(run: str, name: str, rows: pd.DataFrame, judged: dict[str, Solved], file: MixtureFile | None) -> Mix:
    """One mix from its rows at its last step; `judged`: by language, the primary first."""
    languages, light = list(judged), rows[rows["metric"] != "solved"]
    seeds, first = judged[languages[0]].seeds, light.iloc[0]
    seen_S = [json.loads(text) for text in light.drop_duplicates("seed")["tokens_by_language"]]
    shares = {
        language: float(np.mean([seen.get(language, 0) / (sum(seen.values()) or 1) for seen in seen_S]))
        for language in languages
    }
    score = {language: np.array([solved_Q.mean() for solved_Q in part.at_end]) for language, part in judged.items()}
    return Mix(
        name=name,
        seeds=seeds,
        score=score,
        macro=np.mean(list(score.values()), axis=0),
        run=run,
        made=file and file.made,
        stages=file.stages if file else [{"tokens": 0, "weights": shares}],
        tokens=int(first["tokens"]),
        steps=int(first["step"]),
        shares=shares,
        solved={language: part.at_end for language, part in judged.items()},
        primary_share={language: _lens_by_seed(light, seeds, language) for language in languages[1:]},
        loss=_losses_by_seed(light, seeds, languages),
        chance={language: part.chance for language, part in judged.items() if part.chance},
    )


def _losses_by_seed(frame: pd.DataFrame, seeds: list, languages: list[str]) -> dict[str, np.ndarray]:
    rows = select(frame, probe="loss", metric="loss")
    by_language = {language: select(rows, language=language) for language in languages}
    return {
        language: here.groupby("seed")["value"].mean().reindex(seeds).to_numpy(float)
        for language, here in by_language.items()
        if not here.empty
    }


def _lens_by_seed(frame: pd.DataFrame, seeds: list, language: str) -> np.ndarray:
    """Mean over the intermediate layers, by seed, on the places that the shared words have (all, where it has no others)."""
    rows = select(frame, probe="lens", language=language, metric="primary_share_pair")
    for subset in ("shared", "all"):
        here = select(rows, {"subset": subset})
        if not here.empty:
            here = here[(here["layer"] < here["layer"].max()).to_numpy(bool)]
            return here.groupby("seed")["value"].mean().reindex(seeds).to_numpy(float)
    return np.full(len(seeds), np.nan)
