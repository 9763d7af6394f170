"""Definitions of transferring neurons by a score of every neuron: the ones with the largest scores.

Letters as in `lape.py`; x any leading axes.
"""

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class ByScores:
    """A definition by scores, which need passes of their own: `probe --definitions=NAME` measures it.

    Attributes:
      name: the metric of its rows.
      scores: (subject, material, names of the new languages) -> {new language: score_LxF}. The material's slots are those
        at which an identifier is one token.
      larger: (what `scores` gave, float64) -> score_LxF, larger for neurons that do more of it, 0 where it has no meaning.
      at_slots: whether `scores` needs slots of every new language.
    """

    name: str
    scores: Callable
    larger: Callable = lambda scores: scores
    at_slots: bool = True

    def mask(self, scores, language: str, languages: list[str], count: int):
        """The neurons of a language, [L, F]."""
        return top_scores(self.larger(np.asarray(scores, np.float64)), count)

    def options(self, languages: list[str], count: int) -> dict:
        """What the number of neurons depends on."""
        return {"count": count}

    def curve(self, scores, language: str, languages: list[str]) -> tuple:
        """(what is varied, its values, the number of neurons at each): those that score more than each of 20 values, none where
        nothing scores."""
        score_LxF = self.larger(np.asarray(scores, np.float64))
        largest = np.nanmax(score_LxF, initial=0)
        values = np.geomspace(largest / 100, largest, 20) if largest else ()
        return "score", values, [(score_LxF > at).sum() for at in values]


def top_scores(score_xLxF, count: int):
    """The `count` neurons with the largest scores [..., L, F]; ties go to the lower layer and index.

    A score that is not positive (or not a number) says that a neuron does not do what is scored: such a one is never
    taken. Warns when fewer are positive, with how many.
    """
    score_xLxF = np.asarray(score_xLxF)
    positive_xLxF = score_xLxF > 0
    positive = int(positive_xLxF.sum(axis=(-1, -2)).min())
    if positive < count:
        warnings.warn(f"only {positive} of the {count} neurons to be taken by score have a positive one", stacklevel=2)
    *lead, L, F = score_xLxF.shape
    chosen_xM = _first(-score_xLxF.reshape(*lead, L * F), positive_xLxF.reshape(*lead, L * F), count)
    return chosen_xM.reshape(score_xLxF.shape)


def _first(order_value_xM, allowed_xM, count):
    """The `count` allowed ones with the smallest value [..., M]; ties go to the lower index."""
    order_xM = np.argsort(np.where(allowed_xM, order_value_xM, np.inf), axis=-1, kind="stable")
    chosen_xM = np.zeros(allowed_xM.shape, bool)
    np.put_along_axis(chosen_xM, order_xM[..., :count], True, axis=-1)
    return chosen_xM & allowed_xM
