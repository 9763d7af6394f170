"""Claims about from-scratch mixes: the proposed one against the best, and against the original, its rivals and schedules."""

import numpy as np

from babel_jax.common.run_names import ALGORITHM1, SCHEDULE
from babel_jax.optimum import algorithm1
from babel_jax.study import candidates
from babel_jax.study.claim import (
    OPEN,
    REFUTED,
    SUPPORTED,
    Judged,
    above,
    left_out,
    missing,
    no_contest,
    not_tested,
    one_seed_note,
    opposite,
    unlearned,
    untested_proposals,
)
from babel_jax.study.findings import Findings
from babel_jax.study.words import language_name, mix_title, names, percent, points

NEGLIGIBLE = 0.02  # a proposal surely this near to the best mix is a hit; a loss surely smaller than this is no harm


def optimum(findings: Findings) -> Judged:
    name = f"{ALGORITHM1}{algorithm1.DEFAULT_SOURCE}"
    others = findings.static_rivals(name)
    if not others:
        return missing("The proposed mix, or others to compare it with, was not trained.")
    mix, rivals, gap = findings.mix_named(name), findings.comparable(others), findings.behind_best(name)
    if reason := no_contest(findings, [mix, *(rivals or others)]):
        return not_tested(reason)
    best = findings.mix_named(gap.second)
    if np.isnan(gap.value):
        return not_tested("One seed's problems are too few to choose the best mix on some and measure it on others.")
    number = f"{points(gap)} behind the best mix"
    if gap.value < 0:
        number = f"{points(opposite(gap))} ahead of what the other seeds find best"
    primary, new = findings.study.primary, names(findings.study.new)
    sentence = (
        f"Algorithm 1 as written asks for {percent(findings.new_share(mix), 1)} {new}; the best mix trained "
        f"({mix_title(best.name)}) has {percent(findings.new_share(best), 1)} and "
        f"{percent(best.shares.get(primary, 0), 1)} {language_name(primary)}. The proposal is {number}"
    )
    if untested := untested_proposals(findings):
        return not_tested(f"{sentence}. {untested}", number)
    verdict = REFUTED if gap.ci[0] > 0 else SUPPORTED if gap.ci[1] <= NEGLIGIBLE else OPEN
    said = {
        REFUTED: ": Algorithm 1 as written misses the optimum",
        SUPPORTED: "",
        OPEN: ": the data cannot tell a hit from a miss",
    }[verdict]
    return Judged(verdict, number, f"{sentence}{said}{one_seed_note(findings)}.{left_out(findings, others)}")


def original(findings: Findings) -> Judged:
    name = findings.optimised_name
    pair = name and findings.against_original(name)
    if not pair:
        return missing("The original or the optimised mix was not trained.")
    if reason := no_contest(findings, [findings.mix_named(each) for each in (pair.first, pair.second)]):
        return not_tested(reason)
    number = points(pair, "+")
    sentence = (
        f"The original mix reaches {percent(pair.first_value, 1)}, the optimised one ({mix_title(name)}) "
        f"{percent(pair.second_value, 1)}: a difference of {number}{one_seed_note(findings)}."
    )
    if untested := untested_proposals(findings):
        return not_tested(f"{sentence} {untested}", number)
    return Judged(above(pair.ci), number, sentence)


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
    judged = [above(pair.ci) for pair in pairs.values()]
    sentence = f"The optimised mix ({mix_title(name)}) minus " + ", ".join(
        f"{mix_title(rival)}: {points(pair, '+')}" for rival, pair in pairs.items()
    )
    number = f"ahead of {judged.count(SUPPORTED)}, behind {judged.count(REFUTED)}, of {len(pairs)}"
    verdict = SUPPORTED if set(judged) == {SUPPORTED} else REFUTED if REFUTED in judged else OPEN
    return Judged(verdict, number, f"{sentence}{one_seed_note(findings)}.{left_out(findings, others)}")


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
    harmless = all(each.ci[0] > -NEGLIGIBLE for each in by_language.values())
    verdict = REFUTED if guarded.passes is False else SUPPORTED if harmless else OPEN
    rule = f"One interval wholly below 0 counts as harm; all above \N{MINUS SIGN}{100 * NEGLIGIBLE:.0f} points count as none"
    sentence = f"Against the original mix: {', '.join(changes.values())}{one_seed_note(findings)}. {rule}."
    return Judged(verdict, changes[worst], sentence)


def schedule(findings: Findings) -> Judged:
    others = findings.static_rivals(SCHEDULE)
    if not others:
        return missing("No schedule was trained from scratch, or no equally long mix beside it.")
    mixes = findings.comparable(others)
    if reason := no_contest(findings, [findings.mix_named(SCHEDULE), *(mixes or others)]):
        return not_tested(reason)
    score = findings.main_score
    best = max(mixes, key=lambda mix: mix.estimate(score).value)
    pair = findings.between(best.name, SCHEDULE)
    number = points(pair, "+")
    sentence = (
        f"The schedule reaches {percent(pair.second_value, 1)}, the best of {len(mixes)} mixes with constant shares "
        f"({mix_title(best.name)}) {percent(pair.first_value, 1)}: a difference of {number}{one_seed_note(findings)}"
    )
    return Judged(
        above(pair.ci),
        number,
        f"{sentence}. The best was picked on these seeds, which favours it." + left_out(findings, others),
    )
