"""Where in the findings something stands, and which of several scores the report speaks about."""

import numpy as np

from babel_jax.optimum import compare


def main_score(findings: dict) -> str:
    """The score of a mix: the new language's accuracy, or with several new languages the mean over all languages."""
    new = findings["study"]["new"]
    return new[0] if len(new) == 1 else compare.MACRO


def score_S(mix: dict, score: str) -> np.ndarray:
    """A mix's score in each seed."""
    return np.asarray(mix["macro"] if score == compare.MACRO else mix["score"][score], float)


def mix_named(findings: dict, name: str | None) -> dict | None:
    return next((mix for mix in findings["mixes"] if mix["name"] == name), None)


def original_name(findings: dict) -> str | None:
    """The name of the mix that has the original corpus's shares; None where it was not trained."""
    share = findings["study"].get("original_share")
    name = None if share is None else f"{share:.4f}"
    return name if mix_named(findings, name) else None


def new_share(findings: dict, mix: dict) -> float:
    """The new languages' share of a mix's tokens."""
    return 1 - mix["shares"].get(findings["study"]["primary"], 0.0)


def against_original(findings: dict, name: str, score: str | None = None) -> dict | None:
    """`compare.compare` of a mix with the original one, both trained; with "p_holm" where the findings have it."""
    wanted = (original_name(findings), name, score or main_score(findings))
    for found in findings["comparisons"]:
        if (found["first"], found["second"], found["score"]) == wanted and found["kind"] == "mix":
            return found
    return None


def between(findings: dict, first: str, second: str) -> dict | None:
    """`compare.compare` of two mixes in the main score; None where one of them was not trained."""
    if mix_named(findings, first) is None or mix_named(findings, second) is None:
        return None
    return compare.compare(findings["mixes"], first, second, main_score(findings))


def behind_best(findings: dict, name: str, static: bool = True) -> dict | None:
    """`compare.gap_to_best` of a mix in the main score, among the mixes that keep their shares (or among all)."""
    chosen = [mix for mix in findings["mixes"] if not static or is_static(mix)]
    if name not in [mix["name"] for mix in chosen] or len(chosen) < 2:
        return None
    return compare.gap_to_best(chosen, name, main_score(findings))


def is_static(mix: dict) -> bool:
    """Whether a mix has the same shares from its first step to its last."""
    return len(mix["stages"] or [None]) == 1 and mix["name"] != "ado"


def optimised_name(findings: dict) -> str | None:
    """The mix that the optimiser stands for: Algorithm 1's with the calibrated share, where there is one, else the paper's."""
    for name in ("algorithm1_calibrated", "algorithm1_loss"):
        if mix_named(findings, name):
            return name
    return None
