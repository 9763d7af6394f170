"""Eq. 3 of the paper: from the primary's share P of each new language to their tokens, in its two readings.

Letters: R replicates, K new languages.
"""

import numpy as np

from babel_jax.common.errors import UserError

READINGS = ("pairwise", "joint")  # of Eq. 2 and 3; the first gives the paper's corpus


def pairwise_tokens(share, primary_tokens) -> np.ndarray:
    """Eq. 3 pairwise, P = eta_p / (eta_p + eta_j): eta_j = eta_p (1 - P) / P, each language against the primary alone.

    This is the reading that gives the paper's corpus (PHP 5B is P = 0.6875 at 11B of Python). P = 0 asks for infinitely
    many tokens.
    """
    share = np.asarray(share, float)
    with np.errstate(divide="ignore", over="ignore"):
        return np.divide(primary_tokens * (1 - share), share)


def pairwise_share(tokens, primary_tokens) -> np.ndarray:
    """The inverse of `pairwise_tokens`: P = eta_p / (eta_p + eta_j)."""
    return primary_tokens / (primary_tokens + np.asarray(tokens, float))


def pairwise_slope(share, primary_tokens) -> np.ndarray:
    """d eta_j / dP = -eta_p / P^2: how many tokens an error in P costs."""
    with np.errstate(divide="ignore"):
        return -primary_tokens / np.asarray(share, float) ** 2


def joint_tokens(share_K, primary_tokens) -> np.ndarray:
    """Eq. 3 joint: tokens of K new languages with all languages in the denominator, solved together.

    Each new language's own system has 1 - P_j, and by Eq. 2 that is its token share, 1 - P_j = eta_j / sum_i eta_i.
    Hence sum_i eta_i = eta_p / (1 - sum_j (1 - P_j)). (P_j = eta_p / sum_i eta_i would make all P_j equal.)
    With one new language this is the pairwise reading. Languages whose tokens are fixed count with the primary.

    Raises:
      UserError: the new languages' own shares add up to 1 or more: no token counts satisfy them all.
    """
    own_K = 1 - np.atleast_1d(np.asarray(share_K, float))
    if own_K.sum() >= 1:
        raise UserError(
            f"the joint reading has no solution: the new languages ask for {own_K.sum():.3f} of all tokens; "
            "use the pairwise reading or fewer languages."
        )
    return joint_from_own(own_K, primary_tokens)


def joint_from_own(own_KxR, primary_tokens) -> np.ndarray:
    """`joint_tokens` from the own shares 1 - P_j, also of many replicates; infinite where there is no solution."""
    rest_R = 1 - own_KxR.sum(0)
    return np.where(rest_R > 0, own_KxR * primary_tokens / np.where(rest_R > 0, rest_R, 1), np.inf)
