"""What an optimised corpus must beat: other corpora, and what finding each of them costs.

A corpus is a dict {language: tokens} in any one unit; `original` is what the corpus holds before anything is changed.
From-scratch runs all see the same number of tokens, so only the proportions of a rival count there. `mixtures.compose`
makes a mixture file of one.
"""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.run_names import RunName
from babel_jax.corpus import mixture, policies

TEMPERATURE = 2.0
MAX_EPOCHS = 4.0
# What a run is part of.
ALGORITHM1, SCHEDULES, SWARM, SWEEP = "Algorithm 1's search", "schedule search", "swarm", "sweep of shares"
PREDICTION = "runs trained as the mixes are"  # one continual run, and the primary that it starts from
FINAL, CHECKS = "one from-scratch run", "controls and new-only models"
CONTINUAL = (PREDICTION, ALGORITHM1)  # what is read off a continual run takes the first of these that a study has
PART_OF_ROLE = {
    "primary_climb": ALGORITHM1,
    "primary_only": ALGORITHM1,
    "continual": ALGORITHM1,
    "predictor_primary": PREDICTION,
    "predictor": PREDICTION,
    "replay": SCHEDULES,
    "control": CHECKS,
    "new_only": CHECKS,
    "mix": FINAL,
    "multilingual": FINAL,
    "multilingual_optimized": FINAL,
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Operations of training of one part of a study, for one seed; measuring is not counted.

    Attributes:
      what: the part.
      flops: of all its runs; runs: how many a seed has of it.
      final_runs: the same cost in from-scratch runs; NaN if there is none.
    """

    what: str
    flops: float
    runs: float
    final_runs: float


def shuffled(
    original: dict[str, float], optimised: dict[str, float], primary: str, seed: int = 0
) -> dict[str, float] | None:
    """The same changes given to other languages: does it matter *which* languages were cut?

    The factors optimised / original are dealt anew among the languages other than the primary, at random but so that no
    language that was changed keeps its own factor (or one as large).

    Returns:
      The corpus; None where it does not exist: nothing was changed, or no other language could take a change.

    Raises:
      UserError: the two corpora do not hold the same languages, the primary among them.
    """
    others = [name for name in _same_languages(original, optimised, primary) if name != primary]
    factor_K = np.array([optimised[name] / original[name] for name in others])
    own_KxK = np.isclose(factor_K[:, None], factor_K) & ~np.isclose(factor_K, 1)[:, None]
    if np.isclose(factor_K, 1).all():
        return None
    cost_KxK = np.random.default_rng(seed).random(own_KxK.shape)
    language_K, taken_K = linear_sum_assignment(cost_KxK + len(others) * own_KxK)
    if own_KxK[language_K, taken_K].any():
        return None
    dealt = {name: original[name] * float(factor) for name, factor in zip(others, factor_K[taken_K], strict=True)}
    return {primary: optimised[primary]} | dealt


def same_primary(original: dict[str, float], optimised: dict[str, float], primary: str) -> dict[str, float]:
    """The primary has the share that it has in the optimised corpus, the others share the rest as in the original.

    Is a gain due to *which* languages gave way, or only to more of the primary? The total is the original's.

    Raises:
      UserError: as `shuffled`; or the original holds nothing but the primary.
    """
    others = [name for name in _same_languages(original, optimised, primary) if name != primary]
    total, rest = sum(original.values()), sum(original[name] for name in others)
    if not rest:
        raise UserError(f"the original corpus holds only {primary}; give it tokens of another language.")
    share = optimised[primary] / sum(optimised.values())
    return {primary: share * total} | {name: (1 - share) * total * original[name] / rest for name in others}


def temperature(original: dict[str, float]) -> dict[str, float]:
    """The original flattened: shares ~ tokens^(1/T), with the original's total (Devlin et al. 2019; Conneau et al. 2020)."""
    total = sum(original.values())
    return {name: weight * total for name, weight in policies.by_temperature(original, TEMPERATURE).items()}


def unimax(original: dict[str, float]) -> dict[str, float]:
    """Equal shares, but no language more than MAX_EPOCHS times what there is; the original's total (Chung et al. 2023)."""
    total = sum(original.values())
    most = {name: MAX_EPOCHS * tokens for name, tokens in original.items()}
    weights = policies.capped(dict.fromkeys(original, 1.0), most, total)
    return {name: weight * total for name, weight in weights.items()}


def equal_small(original: dict[str, float], primary: str, tokens: float) -> dict[str, float]:
    """The trivial rule: all of the primary, and the same small number of tokens of every other language (or all it has)."""
    _same_languages(original, original, primary)
    return {name: amount if name == primary else min(tokens, amount) for name, amount in original.items()}


def swarm(original: dict[str, float], count: int, seed: int = 0) -> list[dict[str, float]]:
    """`count` random corpora to fit a law to, each with the original's total, as RegMix draws them (Liu et al. 2024).

    Dirichlet around the original flattened by TEMPERATURE. The parameters are K times its K shares (for equal amounts
    uniform over the simplex), times a factor that goes evenly in log from 1/4 (mostly one language) to 4 (near the
    centre). Shares are whole thousandths, so that a mixture's rows come in short blocks.

    Raises:
      UserError: fewer than one corpus, or fewer than two languages.
    """
    if count < 1 or len(original) < 2:
        raise UserError(f"a swarm of {count} over {len(original)} language(s) says nothing; it needs at least 1 and 2.")
    generator, total = np.random.default_rng(seed), sum(original.values())
    centre_K = np.array(list(policies.by_temperature(original, TEMPERATURE).values()))
    corpora = []
    for factor in np.geomspace(0.25, 4.0, count):
        share_K = generator.dirichlet(factor * len(centre_K) * centre_K)
        thousandths = mixture.apportion([int(share * 1e9) for share in share_K], 1000)
        corpora.append({name: total * part / 1000 for name, part in zip(original, thousandths, strict=True)})
    return corpora


def flops(runs: list[tuple[RunName, int, float]]) -> list[Cost]:
    """What each search costs beside one from-scratch run.

    Args:
      runs: (name, seed, operations), operations = `model.flops.flops_per_token` x tokens seen by that run.
    Returns:
      One from-scratch run (the mean of all) first, then the other parts that there are.
    """
    parts = {what: [] for what in (ALGORITHM1, PREDICTION, SCHEDULES, SWARM, SWEEP, FINAL, CHECKS)}
    for name, seed, operations in runs:
        parts[_part(name)].append((seed, operations))
    scratch = [operations for what in (SWARM, SWEEP, FINAL) for _, operations in parts[what]]
    one = float(np.mean(scratch)) if scratch else float("nan")
    rows = [Cost(FINAL, one, 1.0, 1.0)] if scratch else []
    for what, members in parts.items():
        if members and what != FINAL:
            seeds = len({seed for seed, _ in members})
            cost = sum(operations for _, operations in members) / seeds
            rows.append(Cost(what, cost, len(members) / seeds, cost / one))
    return rows


def final_runs(costs: list[Cost], searches: tuple[str, ...]) -> float:
    """What some searches cost together, in from-scratch runs; of CONTINUAL only the first part that there is."""
    there = {cost.what: cost.final_runs for cost in costs}
    continual = [what for what in CONTINUAL if what in searches and what in there]
    counted = [what for what in searches if what not in CONTINUAL] + continual[:1]
    return sum(there.get(what, 0.0) for what in counted)


def _part(name: RunName) -> str:
    if name.is_swarm:
        return SWARM
    if name.is_share:
        return SWEEP
    if name.role not in PART_OF_ROLE:
        raise unknown_name("run of a study", str(name), ("primary_only", "continual", "control", "mix_0.5000"))
    return PART_OF_ROLE[name.role]


def _same_languages(original, optimised, primary: str) -> list[str]:
    if primary not in original:
        raise unknown_name("language of the corpus", primary, original)
    if set(original) != set(optimised):
        raise UserError(
            f"the original corpus holds {', '.join(sorted(original))}, the optimised one "
            f"{', '.join(sorted(optimised))}; give both tokens of the same languages."
        )
    for name in original:
        if not (0 < original[name] < np.inf and 0 <= optimised[name] < np.inf):
            raise UserError(
                f"{name} has {original[name]} tokens originally and {optimised[name]} optimised; give finite numbers, the "
                "first above 0."
            )
    return list(original)
