"""The corpora that a study trains on from scratch: what Algorithm 1 asks for, schedules, and their rivals.

A candidate is {"made": by what, "stages", "steps", "tokens"}; the study writes it as a mixture file that `train` reads.
All take as many steps as the original mix; with "_equal_epochs" behind its name a candidate sees the primary as often as
the original mix does, and so may be shorter or longer (as in the paper, whose optimised corpus is smaller).
"""

import math

from babel_jax.errors import UserError, unknown_name
from babel_jax.optimum import rivals

EQUAL_EPOCHS = "_equal_epochs"
UNMEASURED = ("temperature", "unimax", "equal_small", "ado")
ALGORITHM1 = ("loss", "loss_knowledge", "knowledge_share", "calibrated")
RIVALS = ("shuffled", "same_primary")
FITTED = {"law": "log_linear", "regression": "quadratic"}  # candidate -> kind of mixing law
MEASURED = (*(f"algorithm1_{source}" for source in ALGORITHM1), *RIVALS, *FITTED, "schedule")
WHOLE = ("ado", "schedule")  # as long as the other mixes, always
ADO_EVERY = 40  # steps between two updates of the online mixture
LONGEST = 10.0  # times the original mix's steps: an "_equal_epochs" candidate that would take more is left out
SMALL = 2.0  # the trivial rule's amount, in units of the original corpus (billions of tokens in the paper)


def is_measured(name: str) -> bool:
    """Whether a candidate is made from what the study has measured before."""
    return name.removesuffix(EQUAL_EPOCHS) in MEASURED


def has_file(run: str) -> bool:
    """Whether a run's mixture stands in a file of the study: all mixes but plain shares and the online one."""
    name = run.removeprefix("mix_")
    return name != run and name != "ado" and not name.replace(".", "").isdigit()


def validate(names, replay=(), swarm: int = 0, sweep=()) -> None:
    """Raises a `UserError` for an unknown candidate, or one that lacks the runs it is made from."""
    for name in names:
        plain = name.removesuffix(EQUAL_EPOCHS)
        if plain not in UNMEASURED + MEASURED or (plain in WHOLE and name != plain):
            raise unknown_name("candidate", name, UNMEASURED + MEASURED)
        if plain in FITTED and not swarm and len(sweep) < 4:
            raise UserError(f"candidate '{name}' is fitted to mixes; set `swarm`, or at least 4 shares in `sweep`.")
        if plain == "schedule" and not replay:
            raise UserError(
                "candidate 'schedule' is read off continual runs with replay; set `replay`, such as (0.25,)."
            )


def unmeasured(names, swarm: int, original: dict[str, float], steps: int, step_tokens: int) -> dict[str, dict]:
    """The candidates that need no measurement, and `swarm` random mixes, by name."""
    primary = next(iter(original))
    amounts = {
        "temperature": lambda: rivals.temperature(original),
        "unimax": lambda: rivals.unimax(original),
        "equal_small": lambda: rivals.equal_small(original, primary, SMALL),
    }
    found = {}
    for name in names:
        plain = name.removesuffix(EQUAL_EPOCHS)
        if plain in amounts:
            found[name] = _static(name, amounts[plain](), original, steps, step_tokens)
    for number, corpus in enumerate(rivals.swarm(original, swarm) if swarm else ()):
        found[f"swarm_{number:02d}"] = _static(f"swarm_{number:02d}", corpus, original, steps, step_tokens)
    return found


def measured(findings: dict, names, original: dict[str, float], steps: int, step_tokens: int) -> dict[str, dict]:
    """The candidates that are made from a study's findings; those that the findings do not give are left out."""
    found = {}
    for name in names:
        plain = name.removesuffix(EQUAL_EPOCHS)
        if plain == "schedule":
            schedule = findings["schedules"] and findings["schedules"]["proposal"]
            if schedule:
                made = {"by": "schedule", "reason": schedule["reason"]}
                found[name] = _candidate(made, schedule["stages"], steps, step_tokens)
            continue
        amounts = _amounts(findings, plain, original)
        if amounts and (name == plain or _within_reach(amounts, original)):
            found[name] = _static(name, amounts, original, steps, step_tokens)
            if plain in RIVALS:
                found[name]["made"]["answers_to"] = f"algorithm1_{rivals_of(findings, original)}"
    return found


def _within_reach(amounts: dict[str, float], original: dict[str, float]) -> bool:
    """Whether a corpus shows the primary as often as the original does within LONGEST times the steps."""
    primary = next(iter(original))
    return amounts[primary] / sum(amounts.values()) * LONGEST >= original[primary] / sum(original.values())


def _amounts(findings: dict, name: str, original: dict[str, float]) -> dict[str, float] | None:
    primary = next(iter(original))
    if name.startswith("algorithm1_"):
        return _asked(findings, name.removeprefix("algorithm1_"), original)
    if name in FITTED:
        return findings["laws"] and findings["laws"]["kinds"][FITTED[name]]["best"]["shares"]
    optimised = _asked(findings, rivals_of(findings, original), original)
    if not optimised:
        return None
    if name == "shuffled":
        return rivals.shuffled(original, optimised, primary)
    return rivals.same_primary(original, optimised, primary)


def rivals_of(findings: dict, original: dict[str, float]) -> str:
    """The source of the corpus that `shuffled` and `same_primary` answer to: ours, or the paper's where ours changes nothing."""
    return "calibrated" if _asked(findings, "calibrated", original) else "loss"


def _asked(findings: dict, source: str, original: dict[str, float]) -> dict[str, float] | None:
    """What Algorithm 1 asks the corpus to be: as the paper writes it, for every language; calibrated, as our tests allow.

    A best checkpoint that is the last one asks for tokens without end: such a language keeps what it has, as C++ does in
    the paper. None where nothing changes: that is the original mix.
    """
    corpus = findings["corpora"].get(source)
    asked = corpus and (corpus["tokens"] if source == "calibrated" else corpus["as_written"])
    if not asked:
        return None
    amounts = finite(asked, original)
    return None if all(math.isclose(amounts[name], original[name]) for name in original) else amounts


def finite(asked: dict[str, float], original: dict[str, float]) -> dict[str, float]:
    """The amounts asked for; a language that asks for tokens without end keeps what it has."""
    return {name: asked[name] if math.isfinite(asked[name]) else amount for name, amount in original.items()}


def _static(name: str, amounts: dict[str, float], original: dict[str, float], steps: int, step_tokens: int) -> dict:
    """One stage with the proportions of `amounts`, in whole ten-thousandths, so that a mixture's blocks are short."""
    primary, total = next(iter(original)), sum(amounts.values())
    weights = {language: round(amount / total, 4) for language, amount in amounts.items()}
    if name.endswith(EQUAL_EPOCHS):
        share = weights[primary] / sum(weights.values())
        steps = round(steps * original[primary] / sum(original.values()) / share)
    stages = [{"tokens": 0, "weights": {language: weight for language, weight in weights.items() if weight}}]
    return _candidate({"by": name, "amounts": amounts}, stages, steps, step_tokens)


def _candidate(made: dict, stages: list[dict], steps: int, step_tokens: int) -> dict:
    return {"made": made, "stages": stages, "steps": steps, "tokens": steps * step_tokens}
