"""What the data say to each claim: one verdict a claim, in words, with its main number and interval.

A verdict is a dict: `name`, `claim` (a sentence about the hypothesis), `verdict` (SUPPORTED, REFUTED, OPEN, NOT_TESTED or
MISSING), `number` (the main number with its 95 % interval, as text; "" where there is none to go by), `sentence` (all numbers)
and `language` (a new language, or None for what holds of the whole study). The sentences are chosen by the data, not by the
hypothesis; what was not measured is said to be so. A claim takes something for granted, such as a model that has learned the
language: where that does not hold it was measured, but not tested. Nothing is corrected for the number of claims.
"""

import numpy as np

from babel_jax.evolution import measured, stages
from babel_jax.optimum import algorithm1, compare
from babel_jax.optimum import rivals as rivals_costs
from babel_jax.report import lookups
from babel_jax.report.words import (
    NBSP,
    as_sentence,
    bounds,
    flops,
    language_name,
    minus,
    mix_title,
    names,
    p_value,
    percent,
    points,
    share,
)

SUPPORTED, REFUTED, OPEN, NOT_TESTED, MISSING = "supported", "not supported", "undecided", "not tested", "not measured"
CALIBRATED = 0.1  # mean error up to which P(l) counts as following a measured share
FORETOLD = 0.5  # part of the trivial forecast's error that a law may keep and still count as foretelling
NEGLIGIBLE = 0.02  # a proposal surely this near to the best mix is a hit; a loss surely smaller than this is no harm
UNTESTED = (
    "The best checkpoint is the first or the last one, where Eq. 1 gives 1 or 0 by construction: "
    "this is no test of Algorithm 1."
)
UNDETERMINED = "P* is not determined in any language: this is no test of Algorithm 1."


def verdicts(findings: dict) -> list[dict]:
    """Every verdict on a study: those of each new language in turn, then those of the whole study."""
    found = []
    for language in findings["languages"]:
        for name, judge in OF_A_LANGUAGE.items():
            judged = judge(findings, language)
            reason = name in FROM_THE_PEAK and judged[1] != MISSING and _no_test(findings["languages"][language], name)
            found.append(_entry(name, (judged[0], NOT_TESTED, "", reason) if reason else judged, language))
    for name, judge in OF_THE_STUDY.items():
        found.append(_entry(name, judge(findings), None))
    return found


def _entry(name: str, judged: tuple, language: str | None) -> dict:
    claim, verdict, number, sentence = judged
    return {
        "name": name, "claim": claim, "verdict": verdict, "number": number, "sentence": sentence, "language": language,
    }  # fmt: skip


def _alone(findings: dict) -> str:
    return "" if len(findings["study"]["seeds"]) > 1 else " (one seed: nothing is known about others)"


def _by_sign(ci) -> str:
    """A claim that a difference is above 0, judged by its interval."""
    return SUPPORTED if ci[0] > 0 else REFUTED if ci[1] < 0 else OPEN  # NaN bounds leave it open


def _no_test(here: dict, name: str) -> str:
    """Why a claim that starts from the best checkpoint was not tested in a language, a sentence; "" where it was."""
    found = here["stages"]
    if found is None:
        return "" if here["curves"]["decline"] is None else "One problem of one seed is no curve. Judge more problems."
    if found["rises"] and not (name in AFTER_THE_PEAK and found["ends_at_peak"]):
        return ""
    if found["rises"]:
        return "The best checkpoint is the last one: nothing was measured behind it."
    return as_sentence(stages.no_peak(found)) + ("" if found["learned"] else " Train for longer.")


def _no_knowledge(curves: dict) -> str:
    runs = " and ".join(run.replace("_", "-") for run in curves["unlearned"])
    return (
        f"There is no knowledge share: the {runs} model has not learned to solve anything, so it is not known which problems "
        "need the primary. Train it for longer."
    )


def _declines(found: dict) -> str:
    """The change from the best checkpoint before the last quarter to the end; below 0 it is a rise."""
    change = found["decline"]
    if change["value"] >= 0:
        return f"declines by {points(change)}"
    return f"rises by {points(_reversed(change))}"


def _reversed(change: dict) -> dict:
    return {"value": -change["value"], "ci": [-bound for bound in change["ci"][::-1]]}


def _learned(findings: dict, mixes: list[dict]) -> bool:
    """Whether any of some from-scratch mixes has learned any new language."""
    return any(compare.learned(mix, language) for mix in mixes for language in findings["study"]["new"])


def _no_contest(findings: dict, mixes: list[dict]) -> str:
    """Why mixes cannot be told apart by what they solve, a sentence; "" where they can."""
    new = names(findings["study"]["new"])
    if not _learned(findings, mixes):
        best = max(float(np.mean(mix["score"][language])) for mix in mixes for language in findings["study"]["new"])
        return (
            f"No mix in this comparison has learned {new}: at best {percent(best, 1)} of the problems are solved, and surely "
            f"more than {percent(stages.CHANCE + stages.MINIMUM_CHANGE)} counts. Train for longer."
        )
    score = lookups.main_score(findings)
    if all((lookups.score_S(mix, score) == 1).all() for mix in mixes):
        return f"Every mix in this comparison solves all problems in {new}: no corpus can be better. Judge harder problems."
    return ""


def _peak_step(curves: dict) -> int | None:
    return curves["decline"] and curves["decline"]["peak_step"]


# --- verdicts on one new language: (claim, verdict, main number, sentence with all numbers) ----------------------------


def transition(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, here = "Accuracy rises, then declines", findings["languages"][language]
    found, curves = here["stages"], here["curves"]
    if found is None:
        return claim, MISSING, "", "The continual run was not evaluated on two problems or more."
    number = _declines(found)
    peak, name = found["peak"], language_name(language)
    at = f"step {peak['step']:,}{bounds(peak['step_ci'], digits=0)}"
    sentence = f"From the peak at {at} to the end, accuracy in {name} {number}"
    if found["peak_in_end"]:
        sentence = (
            f"The peak, at {at}, lies in the last quarter of the checkpoints; from the best one before that quarter to the "
            f"end, accuracy in {name} {number}"
        )
    by_seed = [one for one in curves["stages_by_seed"].values() if one is not None]
    if len(curves["seeds"]) > 1:
        peaks = ", ".join(format(one["transition"][0], ",") for one in by_seed)
        sentence += f"; a transition is seen in {len(by_seed)} of {len(curves['stages_by_seed'])} seeds taken alone"
        sentence += f" (peaks at step {peaks})" if peaks else ""
    if found["verdict"] == "undecided":
        return claim, OPEN, number, f"The data cannot tell a transition from none. {sentence}."
    if found["verdict"] != "transition":
        return claim, REFUTED, number, f"No transition seen. {sentence}; it rises by {points(found['rise'])} before."
    settled = found["settles"]
    return (
        claim,
        SUPPORTED,
        number,
        f"{sentence}. "
        + (f"It settles from step {settled['step']:,} on." if settled else "It has not settled by the last step."),
    )


def control(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, found = "The control shows no transition", findings["languages"][language]["control"]
    if found is None:
        return claim, MISSING, "", "This study has no control run."
    number = _declines(found)
    sentence = f"The control {number} and ends at {share(found['plateau'])}"
    if not found["learned"]:
        best = share(found["peak"])
        return claim, NOT_TESTED, "", f"The control has not learned anything to lose: it solves {best} at best."
    if found["verdict"] == "transition":
        return (
            claim,
            REFUTED,
            number,
            f"{sentence}. It declines too, so the decline is not owed to what the control leaves out.",
        )
    if found["verdict"] == "undecided":
        return claim, OPEN, number, f"{sentence}; the data cannot tell a transition from none."
    least = 100 * stages.MINIMUM_CHANGE
    return (
        claim,
        SUPPORTED,
        number,
        f"{sentence}; no transition seen (a decline of less than {least:.0f} points is none).",
    )


def dependence(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, found = "The language depends on the primary", findings["languages"][language]["dependence"]
    if found is None:
        return claim, MISSING, "", "The dependence test needs a continual run with judged problems."
    if not found["tested"]:
        return claim, NOT_TESTED, "", found["reason"]
    verdict = {True: SUPPORTED, False: REFUTED, None: OPEN}[found["depends"]]
    number = p_value(found["p"]).removeprefix(", ")
    return claim, verdict, number, as_sentence(found["reason"].rstrip(".") + p_value(found["p"]))


def knowledge(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, curves = "The knowledge share falls after the peak", findings["languages"][language]["curves"]
    here = curves["knowledge"].get("continual")
    if curves["unlearned"] and curves["decline"] is not None:
        return claim, NOT_TESTED, "", _no_knowledge(curves)
    if here is None or curves["decline"] is None:
        return claim, MISSING, "", "The knowledge share needs the same problems in both languages."
    if here["ceiling"] == 0:
        return claim, OPEN, "", "No problem of this language needs the primary's knowledge: the share is 0 throughout."
    step = _peak_step(curves)
    change, beside = measured.change(here, step), measured.end(curves["knowledge"].get("control"))
    if np.isnan(change["value"]):
        return claim, NOT_TESTED, "", "It has no value at the peak or at the end, where no problem was solved."
    number = f"{percent(change['before'])} to {share(measured.end(here) | {'value': change['after']})}"
    sentence = f"The knowledge share goes from {number} (peak to end), a change of {points(change, '+')}"
    if beside is not None and not np.isnan(beside["value"]):
        sentence += f"; in the control it ends at {share(beside)}"
    falls = _by_sign([-change["ci"][1], -change["ci"][0]])
    return claim, falls, number, f"{sentence}. Its ceiling, {percent(here['ceiling'])}, is set by the problem set."


def patches(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, curves = "What is lost was in the blocks, not in the embeddings", findings["languages"][language]["curves"]
    found = {part: measured.last(curves["patches"].get(part)) for part in ("none", "embeddings", "ffn", "blocks")}
    if any(found[part] is None for part in ("none", "embeddings", "blocks")):
        return claim, MISSING, "", "Representation patches were not measured."
    words = {"embeddings": "the peak's embeddings", "ffn": "its feed-forward layers", "blocks": "its blocks"}
    sentence = f"Accuracy per T\\S word at the end is {share(found['none'])}; with " + ", with ".join(
        f"{words[part]} {share(found[part])}" for part in words if found[part]
    )
    gains = {other: measured.difference(found[other], found["blocks"]) for other in ("none", "embeddings")}
    number = f"the peak's blocks: {points(gains['none'], '+')}"
    sentence += (
        f". The blocks add {points(gains['none'], '+')}, {points(gains['embeddings'], '+')} more than the embeddings"
    )
    over_end, over_embeddings = (_by_sign(gain["ci"]) for gain in gains.values())
    verdict = over_end if over_end == over_embeddings else OPEN
    return claim, verdict, number, f"{sentence}{_alone(findings)}."


def working_language(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, here = "The working language marks the decline", findings["languages"][language]
    curves = here["curves"]
    lens = {
        run: measured.working_language(curves["lens"].get((run, "primary_share_pair"), []))
        for run in ("continual", "control")
    }
    continual = lens["continual"]
    if continual is None or curves["decline"] is None:
        return claim, MISSING, "", "The lens was not run."
    first, at_peak, end = (
        measured.at(continual, continual["steps"][0]),
        measured.at(continual, _peak_step(curves)),
        measured.end(continual),
    )
    number = f"{percent(first['value'])} to {share(end)}"
    sentence = (
        f"The primary's share in the intermediate layers goes from {percent(first['value'])} at the start over "
        f"{share(at_peak)} at the peak to {share(end)} at the end."
    )
    if lens["control"] is None:
        return claim, OPEN, number, f"{sentence} There is no control to compare it with."
    control_first, beside = measured.at(lens["control"], lens["control"]["steps"][0]), measured.end(lens["control"])
    number += f", control to {share(beside)}"
    fall, control_fall = first["value"] - end["value"], control_first["value"] - beside["value"]
    declines = {run: here[run] is not None and here[run]["verdict"] == "transition" for run in ("stages", "control")}
    if declines["stages"] and not declines["control"] and control_fall > 0.5 * fall > 0:
        sentence += (
            f" It falls in the control too, to {share(beside)}, where no transition is seen: "
            f"the change is real, but no marker of the decline."
        )
        return claim, REFUTED, number, sentence
    return claim, OPEN, number, f"{sentence} In the control it ends at {share(beside)}."


def functional(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, curves = "Functional neurons fall, and more than in the control", findings["languages"][language]["curves"]
    here, control = (curves["neurons"].get((run, "functional")) for run in ("continual", "control"))
    if here is None or curves["decline"] is None:
        return claim, MISSING, "", "Functional neurons are defined only where both languages' slots are aligned."
    step = _peak_step(curves)
    change, beside = measured.change(here, step), measured.change(control, step)
    number = f"{measured.at(here, step)['value']:.0f} to {measured.end(here)['value']:.0f}"
    sentence = f"The number of functional neurons, of {here['n']:,}, goes from {number} (peak to end)"
    if beside is None:
        return claim, OPEN, number, f"{sentence}; no control was measured."
    in_control = f"{measured.at(control, step)['value']:.0f} to {measured.end(control)['value']:.0f}"
    extra = measured.difference(change, beside)
    if np.isnan(extra["value"]):
        return claim, OPEN, number, f"{sentence}; no seed has a control beside it."
    verdict = _by_sign(extra["ci"])
    if verdict == SUPPORTED and change["ci"][1] >= 0:
        verdict = OPEN
    falls = minus(format(-change["value"], ".0f")) + bounds([-bound for bound in change["ci"][::-1]], digits=0)
    more = f"{minus(format(extra['value'], '+.0f'))}{bounds(extra['ci'], digits=0, sign='+')} beyond the control's fall"
    sentence += f", by {falls}; in the control from {in_control}. That is {more}{_alone(findings)}."
    return claim, verdict, more, sentence


def lape(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, cuts = "The number of LAPE neurons falls", findings["languages"][language]["curves"]["sensitivity"]
    if not cuts:
        return claim, MISSING, "", "The LAPE count was not measured over several cuts."
    values = np.array([cut["value"] for cut in cuts])
    first, last = cuts[0], cuts[-1]
    number = f"{minus(format(first['value'], '+.1f'))} to {minus(format(last['value'], '+.1f'))}, by cut"
    sentence = "From peak to end the LAPE count changes by " + " and by ".join(
        f"{minus(format(cut['value'], '+.1f'))} at the cut of {100 * cut['top_rate']:g}{NBSP}%" for cut in (first, last)
    )
    sentence += "."
    if not ((values < 0).all() or (values > 0).all()):
        return claim, OPEN, number, f"{sentence} The sign depends on the cut: draw no conclusion."
    judged = {_by_sign([-cut["ci"][1], -cut["ci"][0]]) for cut in cuts}
    verdict = judged.pop() if len(judged) == 1 else OPEN
    return (
        claim,
        verdict,
        number,
        f"{sentence} The sign is the same at every cut{', but not every interval excludes 0' * (verdict == OPEN)}.",
    )


def causes(findings: dict, language: str) -> tuple[str, str, str, str]:
    """Ablation beyond random sets: does it hurt where the primary is needed, and more than where it is not?"""
    claim, found = "The transferring neurons cause the transfer", findings["languages"][language]["causes"]
    judged = found and found["verdict"]
    if not judged or judged["matters"] is None:
        return claim, MISSING, "", "The transferring neurons were not ablated."
    matters, specific, crossover = (judged[name] for name in ("matters", "specific", "crossover"))
    number = points(matters, "+")
    sentence = (
        "Beyond random sets of as many neurons, ablating the functional transferring neurons at the peak changes the "
        f"problems solved that need the primary by {number}{p_value(matters['p'])}"
    )
    verdict = _by_sign([-matters["ci"][1], -matters["ci"][0]])
    if specific is None:
        return claim, OPEN if verdict == SUPPORTED else verdict, number, f"{sentence}{_alone(findings)}."
    sentence += f"; those minus the problems that do not need it by {points(specific, '+')}{p_value(specific['p'])}"
    if crossover is not None:
        sentence += f"; compared with the neurons of the shared problems, a difference of {points(crossover, '+')}"
    if verdict == SUPPORTED and specific["ci"][1] >= 0:
        number = f"{points(specific, '+')} beyond problems that do not need it"
        return claim, OPEN, number, f"{sentence}{_alone(findings)}. It is not shown to be specific to the transfer."
    return claim, verdict, number, f"{sentence}{_alone(findings)}."


def calibration(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim, here = "Eq. 1 follows the knowledge share", findings["languages"][language]
    found = here["calibration"].get(algorithm1.DEFAULT_SOURCE, {}).get("knowledge_share")
    if not found and here["curves"]["unlearned"]:
        return claim, NOT_TESTED, "", _no_knowledge(here["curves"])
    if not found:
        return claim, MISSING, "", "Loss or knowledge share was not measured."
    plain = found["links"]["identity"]
    if np.isnan(plain["r2"]):
        return claim, OPEN, "", "The knowledge share is the same at every checkpoint, so there is nothing to follow."
    number = f"off by {100 * plain['mean_error']:.0f} points on average"
    sentence = f"Over the checkpoints P(l) is {number} and by up to {100 * plain['largest_error']:.0f} ({_fit(plain)})"
    sentence += f"; it counts as following up to {100 * CALIBRATED:.0f} points on average. "
    sentence += (
        "No link predicts a checkpoint left out better."
        if found["best"] == "identity"
        else f"With the {found['best']} link a checkpoint left out is missed by "
        f"{100 * found['links'][found['best']]['loo_error']:.0f} points instead of {100 * plain['loo_error']:.0f}."
    )
    return claim, SUPPORTED if plain["mean_error"] <= CALIBRATED else REFUTED, number, sentence


def _fit(plain: dict) -> str:
    """How well P(l) itself follows a share. Below 0, R2 says only that the share's own mean would do better."""
    r2 = f"R2 {plain['r2']:.2f}" if plain["r2"] >= 0 else "R2 below 0"
    return r2 + ("" if np.isnan(plain["slope"]) else f", slope {minus(format(plain['slope'], '.2f'))}")


def proposal(findings: dict, language: str) -> tuple[str, str, str, str]:
    claim = "Algorithm 1 (from the loss) supports another amount than the original"
    here = findings["languages"][language]
    found = here["proposals"].get(algorithm1.DEFAULT_SOURCE)
    reason = next((said for said in here["gaps"] if said.startswith("Share from loss: ")), "")
    if not found and reason:
        return claim, NOT_TESTED, "", f"There is no proposal. {reason}"
    if not found:
        return claim, MISSING, "", "There is no proposal: loss or accuracy was not measured."
    reason = as_sentence(found["reason"].removeprefix(f"{language}: "))
    if np.isnan(found["p_star"]):
        return claim, NOT_TESTED, "", reason
    if found["p_star"] in (0, 1):
        return claim, NOT_TESTED, "", UNTESTED
    number = f"P* {found['p_star']:.2f}{bounds(found['p_star_ci'])}"
    verdict = {"change": SUPPORTED, "no change supported": REFUTED}.get(found["decision"], OPEN)
    if found["decision"].startswith("leave alone"):
        verdict = REFUTED
    said = "" if reason.lower().startswith(found["decision"]) else f": {found['decision']}"
    return claim, verdict, number, f"{number}{said}. {reason}"


# --- verdicts on the whole study ------------------------------------------------------------------------------------


def optimum(findings: dict) -> tuple[str, str, str, str]:
    claim = "Algorithm 1 (from the loss) finds the best mix"
    proposals = [here["proposals"].get(algorithm1.DEFAULT_SOURCE) for here in findings["languages"].values()]
    gap = lookups.behind_best(findings, f"algorithm1_{algorithm1.DEFAULT_SOURCE}")
    if gap is None:
        return claim, MISSING, "", "The proposed mix, or others to compare it with, was not trained."
    mix, best = (lookups.mix_named(findings, gap[which]) for which in ("first", "second"))
    primary, new = findings["study"]["primary"], findings["study"]["new"]
    if reason := _no_contest(findings, [mix, best, *lookups.static_rivals(findings, mix["name"])]):
        return claim, NOT_TESTED, "", reason
    if np.isnan(gap["value"]):
        return (
            claim,
            NOT_TESTED,
            "",
            "One seed's problems are too few to choose the best mix on some and measure it on others.",
        )
    number = f"{points(gap)} behind the best mix"
    if gap["value"] < 0:
        number = f"{points(_reversed(gap))} ahead of what the other seeds find best"
    sentence = (
        f"Algorithm 1 as written asks for {percent(lookups.new_share(findings, mix), 1)} {names(new)}; the best mix trained "
        f"({mix_title(best['name'])}) has {percent(lookups.new_share(findings, best), 1)} and "
        f"{percent(best['shares'].get(primary, 0), 1)} {language_name(primary)}. The proposal is {number}"
    )
    if untested := _untested(proposals):
        return claim, NOT_TESTED, number, f"{sentence}. {untested}"
    if gap["ci"][0] > 0:
        return claim, REFUTED, number, f"{sentence}: Algorithm 1 as written misses the optimum{_alone(findings)}."
    if gap["ci"][1] <= NEGLIGIBLE:
        return claim, SUPPORTED, number, f"{sentence}{_alone(findings)}."
    return claim, OPEN, number, f"{sentence}: the data cannot tell a hit from a miss{_alone(findings)}."


def _untested(proposals) -> str:
    """Why proposals are no test of Algorithm 1, a sentence; "" where they are."""
    p_star_K = np.array([found["p_star"] for found in proposals if found is not None])
    if not p_star_K.size or np.isnan(p_star_K).all():
        return UNDETERMINED
    return UNTESTED if np.isin(p_star_K[~np.isnan(p_star_K)], (0, 1)).all() else ""


def original(findings: dict) -> tuple[str, str, str, str]:
    claim, name = "The optimised mix beats the original one", lookups.optimised_name(findings)
    pair = name and lookups.against_original(findings, name)
    if not pair:
        return claim, MISSING, "", "The original or the optimised mix was not trained."
    if reason := _no_contest(findings, [lookups.mix_named(findings, pair[which]) for which in ("first", "second")]):
        return claim, NOT_TESTED, "", reason
    number = points(pair, "+")
    sentence = (
        f"The original mix reaches {percent(pair['first_value'], 1)}, the optimised one ({mix_title(name)}) "
        f"{percent(pair['second_value'], 1)}: a difference of {number}{_alone(findings)}"
    )
    proposals = [here["proposals"].get(algorithm1.DEFAULT_SOURCE) for here in findings["languages"].values()]
    if untested := _untested(proposals):
        return claim, NOT_TESTED, number, f"{sentence}. {untested}"
    return claim, _by_sign(pair["ci"]), number, f"{sentence}."


RIVALS = ("shuffled", "same_primary", "equal_small", "unimax", "temperature", "law", "regression", "ado")


def rivals(findings: dict) -> tuple[str, str, str, str]:
    """Against each rival by name; supported only where every one of them is beaten."""
    claim, name = "The optimised mix beats its rivals", lookups.optimised_name(findings)
    pairs = {rival: name and lookups.between(findings, rival, name) for rival in RIVALS}
    pairs = {rival: pair for rival, pair in pairs.items() if pair}
    if not pairs:
        return claim, MISSING, "", "No rival of the optimised mix was trained."
    if reason := _no_contest(findings, [lookups.mix_named(findings, each) for each in (name, *pairs)]):
        return claim, NOT_TESTED, "", reason
    judged = {rival: _by_sign(pair["ci"]) for rival, pair in pairs.items()}
    sentence = f"The optimised mix ({mix_title(name)}) minus " + ", ".join(
        f"{mix_title(rival)}: {points(pair, '+')}" for rival, pair in pairs.items()
    )
    number = f"ahead of {list(judged.values()).count(SUPPORTED)}, behind {list(judged.values()).count(REFUTED)}, of {len(pairs)}"
    verdict = SUPPORTED if set(judged.values()) == {SUPPORTED} else REFUTED if REFUTED in judged.values() else OPEN
    return claim, verdict, number, f"{sentence}{_alone(findings)}."


def guard(findings: dict) -> tuple[str, str, str, str]:
    claim, name = "The optimised mix harms no language", lookups.optimised_name(findings)
    reference = lookups.original_name(findings)
    if not name or not reference:
        return claim, MISSING, "", "The original or the optimised mix was not trained."
    found = compare.guard(findings["mixes"], reference, name)
    untested = [language for language, each in found["languages"].items() if not each["tested"]]
    if untested and found["passes"] is not False:
        either = names(untested).replace(" and ", " or ")
        return (
            claim,
            NOT_TESTED,
            "",
            (
                f"Neither the original nor the optimised mix has learned {either}, so no harm could show. Train for "
                "longer."
            ),
        )
    worst = min(found["languages"], key=lambda language: found["languages"][language]["value"])
    number = f"{language_name(worst)} {points(found['languages'][worst], '+')}"
    sentence = "Against the original mix: " + ", ".join(
        f"{language_name(language)} {points(each, '+')}" for language, each in found["languages"].items()
    )
    harmless = all(each["ci"][0] > -NEGLIGIBLE for each in found["languages"].values())
    verdict = REFUTED if found["passes"] is False else SUPPORTED if harmless else OPEN
    rule = f"One interval wholly below 0 is harm; all above \N{MINUS SIGN}{100 * NEGLIGIBLE:.0f} points are none"
    return claim, verdict, number, f"{sentence}{_alone(findings)}. {rule}."


def schedule(findings: dict) -> tuple[str, str, str, str]:
    claim = "A schedule beats every mix that keeps its shares"
    mixes = lookups.static_rivals(findings, "schedule")
    if not mixes:
        return claim, MISSING, "", "No schedule was trained from scratch, or no equally long mix beside it."
    score = lookups.main_score(findings)
    best = max(mixes, key=lambda each: lookups.score_S(each, score).mean())
    if reason := _no_contest(findings, [lookups.mix_named(findings, "schedule"), *mixes]):
        return claim, NOT_TESTED, "", reason
    pair = lookups.between(findings, best["name"], "schedule")
    number = points(pair, "+")
    sentence = (
        f"The schedule reaches {percent(pair['second_value'], 1)}, the best of {len(mixes)} mixes with constant shares "
        f"({mix_title(best['name'])}) {percent(pair['first_value'], 1)}: a difference of {number}{_alone(findings)}"
    )
    return claim, _by_sign(pair["ci"]), number, f"{sentence}. The best was picked on these seeds, which favours it."


def law(findings: dict) -> tuple[str, str, str, str]:
    claim, found = "A mixing law foretells mixes it has not seen", findings["laws"]
    reason = next((said for said in findings["missing"] if said.startswith("Mixing law: ")), "")
    if not found and reason:
        return claim, NOT_TESTED, "", reason
    if not found:
        return claim, MISSING, "", "There are too few mixes to fit a law to."
    held_out = found["kinds"][found["chosen"]]["loo"]
    error, trivial = held_out["macro_rmse"], held_out["baseline_rmse"]
    number = f"off by {100 * error:.1f} points, without it {100 * trivial:.1f}"
    sentence = (
        f"The {LAWS[found['chosen']]} misses the mean score of a mix left out by {100 * error:.1f} points (root "
        f"mean square over {len(held_out['macro_error_M'])} mixes), the mean of the others by {100 * trivial:.1f}; it counts as "
        f"foretelling if it removes {100 * (1 - FORETOLD):.0f}{NBSP}% of that. This law was chosen because {found['reason']}"
    )
    verdict = SUPPORTED if error <= FORETOLD * trivial else REFUTED if error >= trivial else OPEN
    return claim, verdict, number, as_sentence(sentence)


LAWS = {"log_linear": "log-linear mixing law", "quadratic": "quadratic regression"}


def predicted(findings: dict) -> tuple[str, str, str, str]:
    """Eq. 2's share of the primary against the lens in from-scratch runs."""
    claim, rows = "Token shares foretell the primary's share in from-scratch runs (Eq. 2)", findings["predicted"]
    rows = [row for row in rows if np.isfinite(row["predicted"]) and np.isfinite(row["measured"])]
    if not rows:
        return claim, MISSING, "", "The from-scratch runs were not probed."
    if not _learned(findings, findings["mixes"]):
        return claim, NOT_TESTED, "", _no_contest(findings, findings["mixes"])
    error = np.abs([row["measured"] - row["predicted"] for row in rows])
    number = f"off by {100 * error.mean():.0f} points on average"
    sentence = (
        f"Over {len(rows)} pairs of a mix and a language the measured working-language share is {number} from the predicted one, "
        f"and by up to {100 * error.max():.0f}; it counts as foretold up to {100 * CALIBRATED:.0f} points on average."
    )
    return claim, SUPPORTED if error.mean() <= CALIBRATED else REFUTED, number, sentence


def cost(findings: dict) -> tuple[str, str, str, str]:
    """The search that Algorithm 1 takes against the mixes that a mixing law is fitted to: a swarm and a sweep."""
    claim = "Algorithm 1's search costs less than a mixing law's"
    by_part = {row["what"]: row for row in findings["costs"]}
    ours, swarm, sweep = (
        by_part.get(what) for what in (rivals_costs.ALGORITHM1, rivals_costs.SWARM, rivals_costs.SWEEP)
    )
    if ours is None or swarm is None:
        return claim, MISSING, "", "No swarm was trained."
    theirs = {key: swarm[key] + (sweep[key] if sweep else 0) for key in ("flops", "final_runs", "runs")}
    number = f"{flops(ours['flops'])} against {flops(theirs['flops'])} FLOPs"
    sentence = (
        f"{number} a seed: {ours['final_runs']:.1f} and {theirs['final_runs']:.1f} times a from-scratch run "
        f"({ours['runs']:.0f} and {theirs['runs']:.0f} runs)."
    )
    return claim, SUPPORTED if ours["flops"] < theirs["flops"] else REFUTED, number, sentence


OF_A_LANGUAGE = {
    "transition": transition,
    "control": control,
    "dependence": dependence,
    "knowledge": knowledge,
    "patches": patches,
    "working_language": working_language,
    "functional": functional,
    "lape": lape,
    "causes": causes,
    "calibration": calibration,
    "proposal": proposal,
}
# Claims about what is seen at the best checkpoint of the continual run, and those about what comes behind it.
FROM_THE_PEAK = (
    "transition", "knowledge", "patches", "working_language", "functional", "lape", "causes", "calibration",
)  # fmt: skip
AFTER_THE_PEAK = ("knowledge", "patches", "working_language", "functional", "lape")
OF_THE_STUDY = {
    "optimum": optimum,
    "original": original,
    "rivals": rivals,
    "guard": guard,
    "schedule": schedule,
    "law": law,
    "predicted": predicted,
    "cost": cost,
}
