"""Claims about from-scratch mixes: the proposed one against the best, and against the original, its rivals and schedules."""

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.run_names import ALGORITHM1, SCHEDULE
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import algorithm1, compare
from babel_jax.study import candidates
from babel_jax.study.claim import (
    LEVEL,
    OPEN,
    REFUTED,
    SUPPORTED,
    Judged,
    above,
    below,
    left_out,
    missing,
    negative,
    no_contest,
    not_tested,
    opposite,
    predicted_before,
    seeds_note,
    unlearned,
    untested_proposals,
)
from babel_jax.study.findings import Findings
from babel_jax.study.words import bounds, language_name, minus, mix_title, names, percent, points, ratios

NEGLIGIBLE = 0.02  # a proposal surely this near to the best mix is a hit


def optimum(findings: Findings) -> Judged:
    name = f"{ALGORITHM1}{algorithm1.DEFAULT_SOURCE}"
    others = findings.static_rivals(name)
    if not others:
        return missing("The proposed mix, or others to compare it with, was not trained.")
    mix, rivals, gap = findings.mix_named(name), findings.comparable(others), findings.behind_best(name)
    if reason := no_contest(findings, [mix, *(rivals or others)]):
        return not_tested(reason)
    if np.isnan(gap.value):
        return not_tested("One seed's problems are too few to choose the best mix on some and measure it on others.")
    best, number = findings.mix_named(gap.second), f"{points(gap)} behind the best mix"
    if gap.value < 0:
        number = f"{points(opposite(gap))} ahead of what the other seeds find best"
    sentence = (
        f"Algorithm 1 as written asks for {_asks(findings, mix)}; the best of the {len(rivals) + 1} mixes compared "
        f"({mix_title(best.name)}) has {_asks(findings, best)}. The proposal is {number}"
    )
    if untested := untested_proposals(findings, name):
        return not_tested(f"{sentence}. {untested}", number)
    verdict = REFUTED if gap.ci[0] > 0 else SUPPORTED if gap.ci[1] <= NEGLIGIBLE else OPEN
    said = {
        REFUTED: ": Algorithm 1 as written misses the optimum",
        SUPPORTED: "",
        OPEN: ": the data cannot tell a hit from a miss",
    }[verdict]
    told = f"{sentence}{said}{seeds_note(gap)}.{left_out(findings, others)}"
    return Judged(verdict, number, told + predicted_before(findings, name))


def _asks(findings: Findings, mix: Mix) -> str:
    """A mix's amounts beside those of the primary."""
    return ratios(mix.shares, findings.study.primary)


def original(findings: Findings) -> Judged:
    name = findings.optimised_name
    pair = name and findings.against_original(name)
    if not pair:
        return missing("The original or the optimised mix was not trained.")
    first, second = (findings.mix_named(each) for each in (pair.first, pair.second))
    if reason := no_contest(findings, [first, second]):
        return not_tested(reason)
    number = points(pair, "+")
    sentence = (
        f"The original mix ({_asks(findings, first)}) reaches {percent(pair.first_value, 1)}, the optimised one "
        f"({mix_title(name)}: {_asks(findings, second)}) {percent(pair.second_value, 1)}: a difference of "
        f"{number}{seeds_note(pair)}."
    )
    if untested := untested_proposals(findings, name):
        return not_tested(f"{sentence} {untested}", number)
    return Judged(above(pair.ci), number, sentence + predicted_before(findings, name))


def sooner(findings: Findings) -> Judged:
    """How soon the optimised mix learns the primary, against the original: an outcome of its own."""
    name, of_original = findings.optimised_name, findings.original_name
    if not name or not of_original:
        return missing("The original or the optimised mix was not trained.")
    pair = [findings.mix_named(each) for each in (of_original, name)]
    if any(mix.learning is None or not mix.learning.is_followed for mix in pair):
        return missing("Of the mixes only the last checkpoint was measured, so it is not known how soon they learn.")
    first, second = (dict(zip(mix.learning.seeds, mix.learning.first_S, strict=True)) for mix in pair)
    seeds = [seed for seed in first if seed in second and not np.isnan(first[seed]) * np.isnan(second[seed])]
    if not seeds:
        return not_tested(unlearned(findings, pair))
    last = max(mix.steps for mix in pair)
    censored = sum(np.isnan(step) for seed in seeds for step in (first[seed], second[seed]))
    first_S, second_S = (np.nan_to_num([of[seed] for seed in seeds], nan=last) for of in (first, second))
    value, *ci = statistics.paired_difference(first_S, second_S)
    number = f"{minus(format(value, '+,.0f'))} steps{bounds(ci, digits=0, sign='+')}"
    told = [f"by step {np.mean(steps):,.0f}" for steps in (first_S, second_S)]
    sentence = (
        f"On average the original mix has learned {language_name(findings.study.primary)} {told[0]}, the optimised one "
        f"({mix_title(name)}) {told[1]}: a difference of {number}, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
    )
    note = f"; {censored} that had not by its last step count as that step" if censored else ""
    return Judged(below(ci), number, f"{sentence}{note}.")


def rivals(findings: Findings) -> Judged:
    """Against each rival by name; supported only where every one of them is beaten."""
    name = findings.optimised_name
    rivals = [candidate.name for candidate in candidates.CANDIDATES if candidate.is_rival]
    pairs = {rival: pair for rival in rivals if name and (pair := findings.between(rival, name))}
    if not pairs:
        return missing("No rival of the optimised mix was trained.")
    optimised, others = findings.mix_named(name), [findings.mix_named(rival) for rival in pairs]
    comparable = [mix.name for mix in findings.comparable(others)]
    if reason := no_contest(findings, [optimised, *(findings.mix_named(each) for each in comparable or pairs)]):
        return not_tested(reason)
    pairs = {rival: pair for rival, pair in pairs.items() if rival in comparable}
    corrected = statistics.holm([pair.p for pair in pairs.values()])
    judged = [above(pair.ci) if p < LEVEL else OPEN for pair, p in zip(pairs.values(), corrected, strict=True)]
    sentence = f"The optimised mix ({mix_title(name)}) minus " + ", ".join(
        f"{mix_title(rival)}: {points(pair, '+')}" for rival, pair in pairs.items()
    )
    number = f"ahead of {judged.count(SUPPORTED)}, behind {judged.count(REFUTED)}, of {len(pairs)}"
    verdict = SUPPORTED if set(judged) == {SUPPORTED} else REFUTED if REFUTED in judged else OPEN
    counted = f" {len(pairs)} comparison{'s' * (len(pairs) > 1)}, corrected for their number (Holm)."
    told = f"{sentence}{seeds_note(next(iter(pairs.values())))}.{counted}{left_out(findings, others)}"
    return Judged(verdict, number, told + predicted_before(findings, name))


def guard(findings: Findings) -> Judged:
    name = findings.optimised_name
    if not name or not findings.original_name:
        return missing("The original or the optimised mix was not trained.")
    if reason := unlearned(findings, [findings.mix_named(each) for each in (findings.original_name, name)]):
        return not_tested(reason)
    guarded = findings.guard(name)
    by_language = guarded.languages
    untested = [language for language, each in by_language.items() if not each.tested]
    if untested and guarded.passes is not False:
        either = names(untested).replace(" and ", " or ")
        return not_tested(
            f"Neither the original nor the optimised mix has learned {either}, so no harm could show. Train for longer."
        )
    changes = {language: f"{language_name(language)} {points(each, '+')}" for language, each in by_language.items()}
    worst = min(by_language, key=lambda language: by_language[language].value)
    harmless = all(each.ci[0] > -compare.TOLERANCE for each in by_language.values())
    verdict = REFUTED if guarded.passes is False else SUPPORTED if harmless else OPEN
    tolerated = f"\N{MINUS SIGN}{100 * compare.TOLERANCE:.0f} points"
    sentence = (
        f"Against the original mix: {', '.join(changes.values())}{seeds_note(findings.against_original(name))}. An interval "
        f"wholly below 0 that reaches beyond {tolerated} counts as harm; all above {tolerated} count as none."
    )
    return Judged(verdict, f"{changes[worst]}; tolerated: {tolerated}", sentence)


def schedule(findings: Findings) -> Judged:
    others = findings.static_rivals(SCHEDULE)
    if not others:
        return missing("No schedule was trained from scratch, or no equally long mix beside it.")
    mixes = findings.comparable(others)
    if reason := no_contest(findings, [findings.mix_named(SCHEDULE), *(mixes or others)]):
        return not_tested(reason)
    gap = compare.gap_to_best([findings.mix_named(SCHEDULE), *mixes], SCHEDULE, findings.main_score, others_only=True)
    if np.isnan(gap.value):
        return not_tested("One seed's problems are too few to choose the best mix on some and measure it on others.")
    number = points(opposite(gap), "+")
    sentence = (
        f"The schedule reaches {percent(gap.first_value, 1)}, the best of {len(mixes)} mixes with constant shares "
        f"({mix_title(gap.second)}) {percent(gap.second_value, 1)}: a difference of {number}{seeds_note(gap)}. The best is "
        "chosen on other seeds, or other problems, than it is measured on."
    )
    return Judged(above(negative(gap.ci)), number, sentence + left_out(findings, others))
