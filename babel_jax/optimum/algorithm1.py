"""Algorithm 1 of the paper: from the loss at the best checkpoint to the tokens of the new language, with intervals.

Sign convention, stated once: `loss_primary` is the held-out loss on the new language of the model that has only the
primary system (the start of continual pre-training, P = 1); `loss_own` that of the built own system (its end, P = 0).
"""

import numpy as np
import pandas as pd

from babel_jax.errors import UserError
from babel_jax.evolution import measured, stages, statistics

SOURCES = ("loss", "loss_knowledge", "knowledge_share")
DEFAULT_SOURCE = "loss"  # the paper's


def primary_share(loss, loss_primary, loss_own) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 1: share of the primary system, P(l) = (l - loss_own) / (loss_primary - loss_own), clipped to [0, 1].

    Any broadcastable shapes, losses in nats per token. Returns (share, out_of_range); the flag tells where clipping
    took something away. Where the two ends coincide the share is NaN: such a run says nothing.
    """
    loss, loss_primary, loss_own = np.broadcast_arrays(*(np.asarray(x, float) for x in (loss, loss_primary, loss_own)))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(loss_primary == loss_own, np.nan, (loss - loss_own) / (loss_primary - loss_own))
    return np.clip(share, 0, 1), (share < 0) | (share > 1)


def token_share(tokens) -> np.ndarray:
    """Eq. 2: share of each language's system in a from-scratch mix = its share of the tokens, eta_i / sum_j eta_j."""
    tokens = np.asarray(tokens, float)
    return tokens / tokens.sum()


def pairwise_tokens(share, primary_tokens) -> np.ndarray:
    """Eq. 3 pairwise, P = eta_p / (eta_p + eta_j): eta_j = eta_p (1 - P) / P, each language against the primary alone.

    This is the reading that gives the paper's corpus (PHP 5B is P = 0.6875 at 11B of Python). P = 0 asks for infinitely
    many tokens.
    """
    share = np.asarray(share, float)
    with np.errstate(divide="ignore"):
        return np.divide(primary_tokens * (1 - share), share)


def pairwise_share(tokens, primary_tokens) -> np.ndarray:
    """The inverse of `pairwise_tokens`: P = eta_p / (eta_p + eta_j)."""
    return primary_tokens / (primary_tokens + np.asarray(tokens, float))


def pairwise_slope(share, primary_tokens) -> np.ndarray:
    """d eta_j / dP = -eta_p / P^2: how many tokens an error in P costs."""
    return -primary_tokens / np.asarray(share, float) ** 2


def joint_tokens(share_K, primary_tokens) -> np.ndarray:
    """Eq. 3 joint: tokens of K new languages with all languages in the denominator, solved together.

    Each new language's own system has 1 - P_j, and by Eq. 2 that is its token share, 1 - P_j = eta_j / sum_i eta_i.
    Hence sum_i eta_i = eta_p / (1 - sum_j (1 - P_j)). (P_j = eta_p / sum_i eta_i would make all P_j equal.)
    With one new language this is the pairwise reading.

    Raises:
      UserError: the new languages' own shares add up to 1 or more: no token counts satisfy them all.
    """
    own_K = 1 - np.atleast_1d(np.asarray(share_K, float))
    if own_K.sum() >= 1:
        raise UserError(
            f"the joint reading has no solution: the new languages ask for {own_K.sum():.3f} of all tokens; "
            "use the pairwise reading or fewer languages."
        )
    return own_K * primary_tokens / (1 - own_K.sum())


def joint_share(tokens_K, primary_tokens) -> np.ndarray:
    """The inverse of `joint_tokens`: P_j = 1 - eta_j / sum_i eta_i."""
    tokens_K = np.atleast_1d(np.asarray(tokens_K, float))
    return 1 - tokens_K / (primary_tokens + tokens_K.sum())


def share_curve(frame: pd.DataFrame, new: str, metric: str, run: str = "continual") -> dict | None:
    """P(l) by Eq. 1 at every checkpoint: {"steps", "seeds", "value_SxC", "pooled" [C], "out_of_range" [C]}.

    None if it was not measured. Pooled: Eq. 1 on the loss averaged over seeds; value_SxC: on each seed's own losses.
    """
    loss = measured.curve(frame, run=run, language=new, metric=metric, layer=-1)
    if loss is None or len(loss["steps"]) < 2:
        return None
    pooled, out_of_range = primary_share(loss["mean"], loss["mean"][0], loss["mean"][-1])
    by_seed, _ = primary_share(loss["value_SxC"], loss["value_SxC"][:, :1], loss["value_SxC"][:, -1:])
    return {
        "steps": loss["steps"],
        "value_SxC": by_seed,
        "pooled": pooled,
        "out_of_range": out_of_range,
        "seeds": loss["seeds"],
    }


def proposals(frame: pd.DataFrame, primary: str, new: str) -> dict[str, dict]:
    """Algorithm 1's proposals for one new language, one for each source of P that was measured.

    P* is the source's share at the best checkpoint, the maximum of the smoothed accuracy pooled over seeds. Interval:
    two seeds or more, Student t over the seeds' own P* (each at its own best checkpoint, so that the choice of the
    checkpoint is part of it), centred on the pooled P*; one seed, bootstrap over problems of the best checkpoint.

    Returns:
      {source: {"p_star", "p_star_ci", "pairwise_share", "joint_share", "share_ci", "best_step", "by_seed",
      "out_of_range", "tokens_per_primary_token", "slope"}}. `*_share` are token shares of the *new* language, 4 digits;
      with one new language both readings agree. `share_ci` is the interval of the share, `slope` d eta / dP for one
      primary token (None at P* = 0).
    """
    solved = measured.solved(frame, "continual", new)
    if solved is None:
        raise UserError(f"no judged problems of run 'continual' in {new}; evaluate its checkpoints first.")
    light = frame[frame["metric"] != "solved"]
    steps, best = solved["steps"], int(stages.pooled_curve_C(solved["solved"]).argmax())
    found = {}
    for source in SOURCES:
        if source == "knowledge_share":
            curve = measured.knowledge_curve(frame, "continual", primary, new)
            curve = curve and {**curve, "pooled": curve["mean"], "out_of_range": np.zeros(len(curve["steps"]), bool)}
        else:
            curve = share_curve(light, new, source)
        if curve is None or curve["seeds"] != solved["seeds"] or not set(steps) <= set(curve["steps"]):
            continue  # this source was not measured wherever the accuracy was
        place = np.searchsorted(curve["steps"], steps)
        p_star = float(curve["pooled"][place[best]])
        if np.isnan(p_star):
            continue
        by_seed = [
            float(value_C[place[stages.pooled_curve_C([solved_CxQ]).argmax()]])
            for value_C, solved_CxQ in zip(curve["value_SxC"], solved["solved"], strict=True)
        ]
        low, high = _interval(p_star, by_seed, curve["pooled"][place], solved["solved"])
        found[source] = {
            "p_star": round(p_star, 4),
            "p_star_ci": [round(low, 4), round(high, 4)],
            "pairwise_share": _new_share(pairwise_tokens(p_star, 1.0)),
            "joint_share": _new_share(joint_tokens(p_star, 1.0)[0] if p_star > 0 else np.inf),
            "share_ci": [round(1 - high, 4), round(1 - low, 4)],
            "best_step": int(steps[best]),
            "by_seed": [round(value, 4) for value in by_seed],
            "out_of_range": bool(curve["out_of_range"][place[best]]),
            "tokens_per_primary_token": round(float(pairwise_tokens(p_star, 1.0)), 4) if p_star > 0 else None,
            "slope": round(float(pairwise_slope(p_star, 1.0)), 4) if p_star > 0 else None,
        }
    return found


def _new_share(tokens_per_primary_token) -> float:
    """The new language's share of the tokens, when the primary has one token."""
    return (
        1.0 if np.isinf(tokens_per_primary_token) else round(float(token_share([tokens_per_primary_token, 1.0])[0]), 4)
    )


def _interval(p_star: float, by_seed: list[float], share_C, solved) -> tuple[float, float]:
    if len(by_seed) >= 2:
        mean, low, high = statistics.student(by_seed)
        half = high - mean
        low, high = p_star - half, p_star + half
    else:
        (solved_CxQ,) = solved
        draws = np.random.default_rng(0).integers(0, solved_CxQ.shape[1], (statistics.REPLICATES, solved_CxQ.shape[1]))
        smooth_CxQ = stages.smoothing_CxC(len(share_C)) @ solved_CxQ
        best_R = np.array([smooth_CxQ[:, draw].mean(1).argmax() for draw in draws])
        low, high = np.quantile(np.asarray(share_C)[best_R], [0.025, 0.975])
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def mix_name(new_share: float) -> str:
    """The name of the from-scratch run with this token share of the new language."""
    return f"mix_{new_share:.4f}"


def gap_to_best(sweep: list[dict], run: str) -> dict | None:
    """How far a mix stays behind the best mix of the sweep: {"value", "ci", "by_seed", "best_run", "best_share"}.

    The best mix for a seed is chosen on the *other* seeds and measured on that seed, so that noise does not choose the
    winner it then measures; Student t over seeds. One seed: chosen on one half of the problems, measured on the other
    (statistics.cross_fitted_gap), which says nothing about other seeds. None if the mix was not run.
    """
    runs = [mix["run"] for mix in sweep]
    if run not in runs:
        return None
    seeds = sorted(set.intersection(*(set(mix["seeds"]) for mix in sweep)))
    if not seeds:
        return None
    score_MxS = np.array([[mix["by_seed"][mix["seeds"].index(seed)] for seed in seeds] for mix in sweep])
    here = runs.index(run)
    best = int(score_MxS.mean(1).argmax())
    if len(seeds) == 1:
        solved_MxQ = np.array([mix["solved"][mix["seeds"].index(seeds[0])] for mix in sweep])
        identity = np.eye(len(sweep))
        gap, low, high = statistics.cross_fitted_gap(
            statistics.resampled_halves([solved_MxQ]), identity, identity[here]
        )
        by_seed = np.array([gap])
    else:
        chosen = [int(np.delete(score_MxS, s, axis=1).mean(1).argmax()) for s in range(len(seeds))]
        by_seed = score_MxS[chosen, range(len(seeds))] - score_MxS[here]
        gap, low, high = statistics.student(by_seed)
    return {
        "value": float(gap), "ci": [float(low), float(high)], "by_seed": by_seed,
        "best_run": runs[best], "best_share": sweep[best]["new_share"],
    }  # fmt: skip


def compare_mixes(sweep: list[dict], first: str, second: str) -> dict | None:
    """Score of mix `second` minus mix `first`, paired over the seeds that have both (Student t).

    One seed: paired bootstrap over its problems, which says nothing about other seeds. None if either was not run.
    """
    by_run = {mix["run"]: mix for mix in sweep}
    if first not in by_run or second not in by_run:
        return None
    pair = by_run[first], by_run[second]
    seeds = sorted(set(pair[0]["seeds"]) & set(pair[1]["seeds"]))
    if not seeds:
        return None
    one, two = (np.array([mix["by_seed"][mix["seeds"].index(seed)] for seed in seeds]) for mix in pair)
    value, low, high = statistics.paired_difference(one, two)
    if len(seeds) == 1:
        solved_2xQ = [mix["solved"][mix["seeds"].index(seeds[0])] for mix in pair]
        value, low, high = statistics.paired_bootstrap(solved_2xQ, [-1, 1])
    return {
        "first": float(one.mean()), "second": float(two.mean()), "value": value, "ci": [low, high],
        "first_by_seed": one, "second_by_seed": two, "by_seed": two - one, "seeds": seeds,
    }  # fmt: skip


def measured_shares(curves: dict) -> dict[str, dict]:
    """What P(l) is compared with, as curves in [0, 1]: {name: curve}, from `evolution.curves`.

    Knowledge share and working language (mean of the intermediate layers, pairwise) are shares as they are. The
    functional neurons are a count, so they are put between their largest value and their last one, as Eq. 1 does
    with the loss; that fixes their end at 0.
    """
    found = {}
    if "continual" in curves["knowledge"]:
        found["knowledge share"] = curves["knowledge"]["continual"]
    working = measured.working_language(curves["lens"].get(("continual", "primary_share_pair"), []))
    if working is not None:
        found["working language"] = working
    count = curves["neurons"].get(("continual", "functional"))
    if count is not None and len(count["steps"]) > 1 and np.max(count["mean"]) > count["mean"][-1]:
        least, most = count["mean"][-1], np.max(count["mean"])
        scaled = {name: (count[name] - least) / (most - least) for name in ("value_SxC", "mean", "low", "high")}
        found["functional neurons, normalised"] = count | scaled
    return found


def calibration(predicted_C, measured_C) -> dict:
    """How well P(l) foretells a measured share over the checkpoints: mean and largest absolute error, correlation."""
    predicted, observed = np.asarray(predicted_C, float), np.asarray(measured_C, float)
    there = ~(np.isnan(predicted) | np.isnan(observed))
    predicted, observed = predicted[there], observed[there]
    error = np.abs(predicted - observed)
    flat = len(error) < 3 or np.ptp(predicted) == 0 or np.ptp(observed) == 0
    return {
        "mean_error": float(error.mean()),
        "largest_error": float(error.max()),
        "correlation": float("nan") if flat else float(np.corrcoef(predicted, observed)[0, 1]),
    }
