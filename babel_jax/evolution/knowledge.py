"""Knowledge share: how much of what the model solves in the new language needs the primary language's knowledge."""

import dataclasses

import numpy as np
import pandas as pd

from babel_jax.common import statistics
from babel_jax.common.statistics import Estimate
from babel_jax.evolution import stages
from babel_jax.evolution.curve import Curve, over_seeds
from babel_jax.evolution.selection import Solved, solved


def needs_primary_Q(primary_solved_Q, new_solved_Q) -> np.ndarray:
    """P: problems that need the primary language's knowledge, as a mask [Q].

    Solved by the primary-only model in the primary language and not by the new-only model in the new language (paper).
    The definition cannot tell "needs the primary's knowledge" from "too hard for the new-only model".
    """
    return (np.asarray(primary_solved_Q) > 0.5) & (np.asarray(new_solved_Q) < 0.5)


def knowledge_share(needs_primary_Q, solved_xQ) -> tuple[np.ndarray, np.ndarray]:
    """|P & C| / |C| (NaN where C is empty) and |C|, C being the problems of the new language solved; any leading axes."""
    solved_xQ = np.asarray(solved_xQ) > 0.5
    solved_x = solved_xQ.sum(-1)
    with np.errstate(invalid="ignore"):
        return (solved_xQ & np.asarray(needs_primary_Q, bool)).sum(-1) / solved_x, solved_x


@dataclasses.dataclass(frozen=True)
class KnowledgeCurve(Curve):
    """A knowledge share over checkpoints.

    Attributes:
      ceiling: the share of a model that solves all, |P| over all problems; mean of the seeds. ceiling_by_seed: [S].
      solved_SxC: |C|.
    """

    ceiling: float
    ceiling_by_seed: list[float]
    solved_SxC: np.ndarray

    @property
    def ceiling_estimate(self) -> Estimate:
        """The ceiling with its interval over seeds."""
        value, low, high = (float(number) for number in statistics.student(self.ceiling_by_seed))
        return Estimate(value, (low, high))


def knowledge_curve(frame: pd.DataFrame, run: str, primary: str, new: str) -> KnowledgeCurve | None:
    """Knowledge share of a run as a curve; None where it has no meaning.

    It needs problems that are the same in both languages: those of a world with subsets, or facts. Call sites of real code
    (subset "all") are not. And it needs a primary-only and a new-only model that have learned (`unlearned`): which problems
    need the primary is what the one solves and the other does not.
    """
    parts = [solved(frame, *key) for key in ((run, new), ("primary_only", primary), ("new_only", new))]
    if any(part is None or set(np.concatenate(part.subset)) <= {"all"} for part in parts):
        return None
    if not all(stages.learned(part.at_end, part.chance) for part in parts[1:]):
        return None
    seeds = sorted(set.intersection(*(set(part.seeds) for part in parts)))
    if not seeds or not all(_same_problems(parts, seed) for seed in seeds):
        return None
    shares, ceilings = [], []
    for seed in seeds:
        here_CxQ, base_CxQ, alone_CxQ = (part.solved[part.seeds.index(seed)] for part in parts)
        needs_Q = needs_primary_Q(base_CxQ[-1], alone_CxQ[-1])
        shares.append(knowledge_share(needs_Q, here_CxQ))
        ceilings.append(float(needs_Q.mean()))
    share_SxC, solved_SxC = (np.array(of, float) for of in zip(*shares, strict=True))
    curve = over_seeds(parts[0].steps, share_SxC, solved_SxC, seeds, unit=True)
    return KnowledgeCurve(
        **vars(curve), ceiling=float(np.mean(ceilings)), ceiling_by_seed=ceilings, solved_SxC=solved_SxC
    )


def _same_problems(parts: list[Solved], seed: int) -> bool:
    here, *others = (part.item[part.seeds.index(seed)] for part in parts)
    return all(np.array_equal(here, other) for other in others)


def unlearned(frame: pd.DataFrame, primary: str, new: str) -> list[str]:
    """Of the two models that the knowledge share rests on, those that were judged and have not learned their language."""
    judged = {"primary_only": solved(frame, "primary_only", primary), "new_only": solved(frame, "new_only", new)}
    return [run for run, part in judged.items() if part and not stages.learned(part.at_end, part.chance)]
