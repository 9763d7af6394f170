"""Simulated studies of the embedded world, read by the project's own functions, beside what is true: do intervals hold it?

The truth of a quantity is its value in the mean over all seeds; of what is read at the best checkpoint, at the best one of
that mean when smoothed. Letters as in simulated_world.py, and R studies.
"""

import functools

import numpy as np

from babel_jax.common import statistics
from babel_jax.evolution import stages
from babel_jax.optimum import algorithm1, calibration, compare, eq3, peak_tokens, share
from helpers import simulated_world as world

CHECKPOINTS = len(world.STEPS)
PAIRS = (("original", "m02"), ("m10", "m05"), ("m25", "m10"), ("full", "nearly"))
# (mixes, those of them whose gap to the best of these mixes is estimated): a clear winner, two that hardly differ
FIELDS = ((("original", "m02", "m05", "m10", "m25"), ("original", "m02")), (("m05", "m10"), ("m05", "m10")))
SOURCES = ("loss", "knowledge_share")


def true_of_continual(kind: str) -> dict[str, float]:
    """{quantity of `continual`: its value in the population}."""
    everyone = world.population(kind)
    best, mean_C = everyone.best, everyone.accuracy_C
    shares = dict(zip(SOURCES, (everyone.share_C[best], everyone.knowledge_C[best]), strict=True))
    end = stages.end_C(CHECKPOINTS) @ mean_C
    smooth_C = stages.smoothing_CxC(CHECKPOINTS) @ mean_C
    return {
        "peak": mean_C[best],
        "peak, step": world.STEPS[best],
        "peak tokens": peak_tokens.peak_of(smooth_C, world.STEPS * world.STEP_TOKENS),
        "end level": end,
        "decline": mean_C[best] - end,
        "rise": mean_C[best] - mean_C[0],
        **{f"P*, {source}": value for source, value in shares.items()},
        **{f"tokens, {source}": eq3.pairwise_tokens(value, 1.0) for source, value in shares.items()},
    }


def continual(kind: str, generator, seeds: int) -> dict[str, tuple[float, tuple[float, float]]]:
    """{quantity: (estimate, interval)} of one study's continual run."""
    observation = world.observed(generator, seeds, kind)
    found, tokens = stages.find(observation.steps, observation.solved), peak_tokens.of_observation(observation)
    asked = {
        source: algorithm1.propose(observation, share.share_curve(observation, source), found, None)
        for source in SOURCES
    }
    return {
        "peak": (found.peak.value, found.peak.ci),
        "peak, step": (found.peak.step, found.peak.step_ci),
        "peak tokens": (tokens.tokens, tokens.tokens_ci),
        "end level": (found.plateau.value, found.plateau.ci),
        "decline": (found.decline.value, found.decline.ci),
        "rise": (found.rise.value, found.rise.ci),
        **{f"P*, {source}": (asked[source].p_star, asked[source].p_star_ci) for source in SOURCES},
        **{f"tokens, {source}": (asked[source].tokens, asked[source].tokens_ci) for source in SOURCES},
    }


def true_of_calibrated(kind: str) -> dict[str, float]:
    """The link predicts the share that was measured."""
    everyone = world.population(kind)
    return {"P*, calibrated": everyone.knowledge_C[everyone.best]}


def calibrated(kind: str, generator, seeds: int) -> dict[str, tuple[float, tuple[float, float]]]:
    """P* of the loss by its link to the knowledge share; on its own, for the links take most of the time."""
    observation = world.observed(generator, seeds, kind)
    curve = share.share_curve(observation, "loss")
    links = calibration.calibrate(curve.pooled, observation.shares["knowledge_share"].mean(0))
    found = stages.find(observation.steps, observation.solved)
    proposal = algorithm1.propose(observation, curve, found, None, links)
    return {"P*, calibrated": (proposal.p_star, proposal.p_star_ci)}


def true_of_mixes() -> dict[str, float]:
    """{quantity of `from_scratch`: its value in the population}."""
    mix = world.mean_of_mixes()
    return {
        **{f"{second} - {first}": mix[second] - mix[first] for first, second in PAIRS},
        **{f"{second} - {first}, macro": (mix[second] - mix[first]) / 2 for first, second in PAIRS},
        **{f"best - {name}": max(map(mix.get, among)) - mix[name] for among, names in FIELDS for name in names},
    }


def from_scratch(generator, seeds: int) -> dict[str, tuple[float, tuple[float, float]]]:
    """{quantity: (estimate, interval)} of one study's mixes."""
    mixes, found = world.mixes(generator, seeds), {}
    for first, second in PAIRS:
        for name, score in (("", world.NEW), (", macro", compare.MACRO)):
            pair = compare.compare(mixes, first, second, score)
            found[f"{second} - {first}{name}"] = pair.value, pair.ci
    for among, names in FIELDS:
        for name in names:
            gap = compare.gap_to_best([mix for mix in mixes if mix.name in among], name, world.NEW)
            found[f"best - {name}"] = gap.value, gap.ci
    return found


# what is measured: (how a study of it is drawn and read, the truth)
STUDIES = {
    f"{name}, {kind}": (functools.partial(read, kind), functools.partial(truth, kind))
    for kind in world.HALF_RISEN
    for name, read, truth in (
        ("continual", continual, true_of_continual),
        ("calibrated", calibrated, true_of_calibrated),
    )
} | {"from scratch": (from_scratch, true_of_mixes)}


def coverage(name: str, seeds: int, replications: int) -> list[dict]:
    """How the intervals of so many studies, one of STUDIES, fare: one record a quantity.

    `covered`: how often the interval held the truth, with its Wilson interval; `above`, `below`: how often it lay wholly
    there; `width`: its median; `mean`: of the estimates, beside the `truth`.
    """
    read, truth = STUDIES[name]
    found = [read(np.random.default_rng([seeds, draw]), seeds) for draw in range(replications)]
    records = []
    for quantity, true in truth().items():
        value_R, low_R, high_R = np.array([(of[quantity][0], *of[quantity][1]) for of in found], float).T
        covered = float(np.mean((low_R <= true) & (true <= high_R)))
        numbers = {
            "covered": covered,
            "covered_ci": [float(bound) for bound in statistics.wilson(covered, replications)],
            "above": float(np.mean(low_R > true)),
            "below": float(np.mean(high_R < true)),
            "width": float(np.median(high_R - low_R)),
            "mean": float(value_R.mean()),
            "truth": float(true),
        }
        rounded = {name: np.round(number, 4).tolist() for name, number in numbers.items()}
        records.append({"of": name, "quantity": quantity, "seeds": seeds, "studies": replications} | rounded)
    return records
