"""What a probe's page says first: what was probed, and its main findings as sentences, each number with its interval.

All numbers that a sentence or a table shows are rows of `Told.numbers`, too, which become CSV files beside the page.
"""

import dataclasses
import re
from collections.abc import Iterable

import numpy as np

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.probe_findings import Branch, ProbeFindings
from babel_jax.evolution.tasks import BESIDE, CHANCE, TITLES
from babel_jax.report.html_tables import html_table
from babel_jax.report.probe_names import definition, few_pairs, messages, pairs_of
from babel_jax.study import words
from babel_jax.study.words import amount, language_name, number, share

MOST_FINDINGS = 4


@dataclasses.dataclass(frozen=True)
class Told:
    """One finding: its heading, its sentence, and its numbers as (what, value, low, high)."""

    heading: str
    sentence: str
    numbers: list[tuple]


def main_branch(findings: ProbeFindings) -> Branch:
    """The branch that the sentences are about: the one with the most checkpoints."""
    return max(findings.branches, key=lambda branch: len(branch.at_C))


def title(findings: ProbeFindings) -> str:
    runs = [branch.name for branch in findings.branches]
    return f"{', '.join(runs[:3])}{' and others' * (len(runs) > 3)}, probed"


def lead(findings: ProbeFindings) -> str:
    """What was probed, in a sentence or two."""
    branch, unit = main_branch(findings), "tokens" if findings.by_tokens else "steps"
    family = branch.record.get("model", {}).get("family")
    kind = f"a {family} model" if family else "a model"
    at = branch.at_C
    when = (
        f"at {len(at)} checkpoints from {amount(at[0])} to {amount(at[-1])} {unit}"
        if len(at) > 1
        else _at(branch, unit)
    )
    several = f" One of {len(findings.branches)} runs." if len(findings.branches) > 1 else ""
    seeds = f", {words.seeds(len(branch.seeds))}" if len(branch.seeds) > 1 else ""
    return (
        f"{branch.name}: {kind} of {branch.layers} layers, read {when}{seeds}, in {words.names(findings.languages)}.{several} "
        "Intervals are of 95 %."
    )


def _at(branch: Branch, unit: str) -> str:
    return f"at one checkpoint, {amount(branch.at_C[0])} {unit}" if branch.at_C[0] else "at one checkpoint"


# --- what was probed --------------------------------------------------------------------------------------------------------


def probed_tables(findings: ProbeFindings) -> str:
    """The runs and the texts as tables (HTML)."""
    neuron = dict.fromkeys(branch.about.get("neuron") for branch in findings.branches)
    said = "; ".join(filter(None, neuron))
    return (
        _html("Runs", "run", run_rows(findings))
        + _html("Texts", "texts", text_rows(findings))
        + (f'<p class="quiet">A neuron is {said}.</p>' if said else "")
    )


def _html(caption: str, of: str, rows: dict[str, dict]) -> str:
    head = [of, *next(iter(rows.values()), {})]
    return html_table(caption, head, [[name, *map(_cell, row.values())] for name, row in rows.items()])


def _cell(value) -> str:
    return "" if value is None else value if isinstance(value, str) else amount(value)


def run_rows(findings: ProbeFindings) -> dict[str, dict]:
    """{run: {what: value}}; a heading that ends in a blank is of text."""
    unit, rows = "tokens" if findings.by_tokens else "steps", {}
    followed = any(branch.is_followed for branch in findings.branches)
    for branch in findings.branches:
        first, last = branch.at_C[0].item(), branch.at_C[-1].item()
        rows[branch.name] = {
            "family ": branch.record.get("model", {}).get("family") or "",
            "layers": branch.layers,
            "neurons a layer": branch.about["ffn_width"],
            "seeds": len(branch.seeds),
            "checkpoints": len(branch.at_C),
        }
        rows[branch.name] |= {f"first, {unit}": first, f"last, {unit}": last} if followed else {f"at, {unit}": last}
        rows[branch.name] |= {"branches off ": branch.parent} if any(b.parent for b in findings.branches) else {}
    return rows


def text_rows(findings: ProbeFindings) -> dict[str, dict]:
    """{language: {what: value}} of the held-out texts and prompts, those of the main branch."""
    texts = main_branch(findings).record.get("texts", {})
    has_bytes = any(of["bytes"] is not None for of in texts.values())
    return {
        language_name(name): {"rows": of["rows"], "tokens": of["tokens"]}
        | ({"bytes": of["bytes"]} if has_bytes else {})
        | {"prompts": of["prompts"], "pairs": len(of["pairs"])}
        for name in findings.languages
        if (of := texts.get(name))
    }


def probed_numbers(findings: ProbeFindings) -> list[tuple]:
    """(of what, what, value): every number of `lead` and of the tables."""
    rows = [
        (name, what.strip(), value)
        for table in (run_rows(findings), text_rows(findings))
        for name, row in table.items()
        for what, value in row.items()
        if not isinstance(value, str) and value is not None
    ]
    rows.append(("all", "runs", len(findings.branches)))
    for language in findings.languages:
        of, pairs, few = language_name(language), pairs_of(findings, language), few_pairs(findings, language)
        rows += [(of, "pairs, with those without a prompt", len(pairs)), (of, "pairs with few prompts", len(few))]
        rows += [(f"{of}, {pair['primary']} / {pair['new']}", "prompts", pair["prompts"]) for pair in pairs]
    for message in dict.fromkeys(message for branch in findings.branches for message in messages(branch)):
        rows += [("texts", message, float(found)) for found in re.findall(r"\d+", message)]
    return rows


# --- the findings -----------------------------------------------------------------------------------------------------------


def told(findings: ProbeFindings) -> list[Told]:
    """The main findings, as far as they were measured."""
    branch = main_branch(findings)
    made = (_working_language, _neurons, _causes, _losses, _alignment, _tasks)
    found = [_joined(findings, branch, of) for of in made]
    return [one for one in found if one][:MOST_FINDINGS]


def _joined(findings: ProbeFindings, branch: Branch, of) -> Told | None:
    """One finding of all new languages: clauses, joined."""
    parts = [part for language in findings.new if (part := of(findings, branch, language))]
    if not parts:
        return None
    sentence = words.as_sentence("; ".join(part.sentence for part in parts))
    return Told(parts[0].heading, sentence, [row for part in parts for row in part.numbers])


def _ends(curve: Curve) -> list[tuple[str, Estimate]]:
    """Its first and last points, or the one that there is."""
    if len(curve.steps) == 1:
        return [("", curve.last())]
    return [(" at the first checkpoint", curve.first()), (" at the last", curve.last())]


def _row(what: str, estimate: Estimate) -> tuple:
    return what, estimate.value, *estimate.ci


def _working_language(findings: ProbeFindings, branch: Branch, language: str) -> Told | None:
    curve = branch.working.get(("primary_share_pair", language))
    if curve is None or np.isnan(curve.last().value):
        return None
    primary, new = language_name(findings.primary), language_name(language)
    ends = [(when, point) for when, point in _ends(curve) if not np.isnan(point.value)]
    where = " and ".join(f"at {share(point)} of places{when}" for when, point in ends)
    sentence = f"in {new} prompts, layers {branch.working_layers.replace('..', ' to ')} prefer {primary}’s name {where}"
    numbers = [_row(f"{new}, primary’s share by pairs{when}", point) for when, point in ends]
    layers = [int(layer) for layer in branch.working_layers.replace("..", ",").split(",")]
    numbers += [(f"{new}, of the layers", layer, np.nan, np.nan) for layer in layers]
    concept, others = (branch.working.get((name, language)) for name in ("concept_share", "primary_share_others"))
    if concept and others:
        sentence += (
            f"; beside other pairs’ names at the same prompts ({share(others.last())}), the right pair adds "
            f"{words.points(concept.last(), '+')}"
        )
        numbers += [_row(f"{new}, other pairs", others.last()), _row(f"{new}, concept share", concept.last())]
    return Told("Working language", sentence, numbers)


def _neurons(findings: ProbeFindings, branch: Branch, language: str) -> Told | None:
    name = "lape_target"
    curve = branch.neurons.get((name, language))
    if curve is None:
        return None
    new = language_name(language)
    sentence = f"{definition(name)} counts {_count(curve.last())} of {amount(curve.n)} neurons as {new}’s"
    if branch.is_followed:
        sentence += f" at the last checkpoint, {_count(curve.first())} at the first"
    numbers = [_row(f"{new}, {definition(name)} neurons{when}", point) for when, point in _ends(curve)]
    numbers.append((f"{new}, neurons in all", curve.n, np.nan, np.nan))
    flow = branch.flows.get(f"{name}:{language}")
    if branch.is_followed and flow is not None and np.isfinite(flow.births_C[-1]):
        births, deaths = flow.births_C[-1], flow.deaths_C[-1]
        sentence += f"; since the one before the last {_short(births)} came and {_short(deaths)} went"
        numbers += [(f"{new}, births at the last", births, np.nan, np.nan), (f"{new}, deaths", deaths, np.nan, np.nan)]
    return Told("Neurons", sentence, numbers)


def _count(point: Estimate) -> str:
    return f"{_short(point.value)}{words.bounds(point.ci, digits=0)}"


def _short(value: float) -> str:
    return number(value, 0 if float(value).is_integer() else 1)


def _causes(findings: ProbeFindings, branch: Branch, language: str) -> Told | None:
    cause = next(
        (c for c in branch.causes if (c.metric, c.neurons, c.language) == ("loss_change", language, language)), None
    )
    if cause is None:
        return None
    new = language_name(language)
    sentence = (
        f"{cause.kind}-ablating {new}’s {_short(cause.size)} own neurons changes {new}’s loss by {_nats(cause.change)}, random "
        f"sets of as many by {number_signed(cause.random.value)}: a difference of {_nats(cause.difference)}"
    )
    numbers = [
        (f"{new}, neurons ablated", cause.size, np.nan, np.nan),
        _row(f"{new}, change of loss", cause.change),
        _row(f"{new}, of random sets", cause.random),
        _row(f"{new}, difference", cause.difference),
    ]
    return Told("Causes", sentence, numbers)


def number_signed(value: float) -> str:
    return words.minus(f"{value:+.4f}")


def _nats(estimate: Estimate) -> str:
    return f"{number_signed(estimate.value)}{words.bounds(estimate.ci, digits=4, sign='+')} nats per token"


def _losses(findings: ProbeFindings, branch: Branch, language: str) -> Told | None:
    metric = "bits_per_byte" if ("bits_per_byte", language) in branch.losses else "loss"
    if (metric, language) not in branch.losses:
        return None
    unit = "bits per byte" if metric == "bits_per_byte" else "nats per token"
    parts, numbers = [], []
    for name in dict.fromkeys((language, *([findings.primary] if language == findings.new[0] else []))):
        ends = _ends(branch.losses[metric, name])
        values = " and ".join(
            f"{number(point.value, 3)}{words.bounds(point.ci, digits=3)}{when}" for when, point in ends
        )
        parts.append(f"{language_name(name)} has {values}")
        numbers += [_row(f"{language_name(name)}, {unit}{when}", point) for when, point in ends]
    return Told("Losses", f"{', '.join(parts)} ({unit})", numbers)


def _alignment(findings: ProbeFindings, branch: Branch, language: str) -> Told | None:
    curve = branch.aligned.get(language)
    if curve is None:
        return None
    new, primary = language_name(language), language_name(findings.primary)
    numbers = [_row(f"{new}, MEXA over all layers{when}", point) for when, point in _ends(curve)]
    sentence = f"{share(curve.last())} of {new} prompts lie closest to their parallel in {primary}, over all layers"
    if branch.is_followed:
        sentence += f", at the last checkpoint, and {share(curve.first())} at the first"
    return Told("Alignment", sentence, numbers)


def _tasks(findings: ProbeFindings, branch: Branch, language: str) -> Told | None:
    """At the last checkpoint."""
    parts, numbers, of = [], [], language_name(language)
    for name, curve in ((name, branch.tasks.scores.get((name, language))) for name in TITLES):
        if curve is not None and (name not in BESIDE or BESIDE[name].is_share):
            chance = CHANCE.get(name)
            parts.append(
                f"{TITLES[name]} {share(curve.last())}" + (f" (chance {words.percent(chance)})" if chance else "")
            )
            numbers += [_row(f"{of}, {TITLES[name]}", curve.last())]
            numbers += [(f"{of}, {TITLES[name]}, chance", chance, np.nan, np.nan)] if chance else []
    return Told("Tasks", f"in {of}: {', '.join(parts)}", numbers) if parts else None


# --- the terminal -----------------------------------------------------------------------------------------------------------

WIDTH = 80


def terminal_table(findings: ProbeFindings) -> str:
    """Each run and language; intervals are of 95 %."""
    unit = "tokens" if findings.by_tokens else "steps"
    lines = []
    for branch in findings.branches:
        at = branch.at_C
        when = (
            f"{len(at)} checkpoints, {amount(at[0])} to {amount(at[-1])} {unit}" if len(at) > 1 else _at(branch, unit)
        )
        lines += [f"{branch.name}: {when}, {words.seeds(len(branch.seeds))}"[:WIDTH], "-" * 78]
        lines.append(_line("", "first" if len(at) > 1 else "", "last" if len(at) > 1 else "value", "95 %"))
        lines += [_of_curve(name, curve, digits) for name, curve, digits in _curves(findings, branch)]
        lines += [
            _line(
                f"loss of {one.language} without {one.neurons}'s", "", number(one.change.value, 4), _ci(one.change, 4)
            )
            for one in branch.causes
            if one.metric == "loss_change"
        ]
        lines.append("")
    return "\n".join(lines).rstrip().replace(words.NBSP, " ").replace("\N{MINUS SIGN}", "-")


def _curves(findings: ProbeFindings, branch: Branch) -> Iterable[tuple[str, Curve, int]]:
    """(name, curve, digits) of the lines that a run has."""
    for (metric, language), curve in branch.losses.items():
        yield f"{language_name(language)}: {metric.replace('_', ' ')}", curve, 3
    for metric, name in (
        ("primary_share_pair", f"{language_name(findings.primary)}'s share"),
        ("primary_share_others", "of other pairs"),
        ("concept_share", "difference"),
    ):
        for language in findings.languages:
            if curve := branch.working.get((metric, language)):
                yield f"{language_name(language)} prompts: {name}", curve, 3
    for (name, language), curve in branch.neurons.items():
        if name != "specific" or language == findings.primary:
            yield f"{language_name(language)}: {definition(name)} neurons", curve, 0
    for language, curve in branch.aligned.items():
        yield f"{language_name(language)}: MEXA", curve, 3
    for (name, language), curve in branch.tasks.scores.items():
        yield f"{language_name(language)}: {TITLES[name]}", curve, 3


def _of_curve(name: str, curve: Curve, digits: int) -> str:
    last = curve.last()
    first = number(curve.first().value, digits) if len(curve.steps) > 1 else ""
    return _line(name, first, number(last.value, digits), _ci(last, digits))


def _line(name: str, first: str, last: str, ci: str) -> str:
    return f"{name:<42.42} {first:>8} {last:>8}  {ci}".rstrip()[:WIDTH]


def _ci(estimate: Estimate, digits: int) -> str:
    return words.bounds(estimate.ci, digits=digits).strip()
