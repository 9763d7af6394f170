"""Knowledge share: how much of what the model solves in the new language needs the primary language's knowledge."""

import numpy as np


def needs_primary_Q(primary_solved_Q, new_solved_Q) -> np.ndarray:
    """P: problems that need the primary language's knowledge, as a mask [Q].

    Solved by the primary-only model in the primary language and not by the new-only model in the new language (paper).
    The definition cannot tell "needs the primary's knowledge" from "too hard for the new-only model".
    """
    return (np.asarray(primary_solved_Q) > 0.5) & (np.asarray(new_solved_Q) < 0.5)


def knowledge_share(needs_primary_Q, solved_CxQ) -> dict:
    """|P & C| / |C| at every checkpoint, C being the problems of the new language solved there.

    Returns:
      dict: share_C (NaN where C is empty), solved_C (|C|), ceiling (|P| / Q: the share of a model that solves all).
    """
    needs_Q, solved_CxQ = np.asarray(needs_primary_Q, bool), np.asarray(solved_CxQ) > 0.5
    solved_C = solved_CxQ.sum(1)
    with np.errstate(invalid="ignore"):
        share_C = (solved_CxQ & needs_Q).sum(1) / solved_C
    return {"share_C": share_C, "solved_C": solved_C, "ceiling": float(needs_Q.mean())}
