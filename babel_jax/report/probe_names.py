"""What definitions, sets and options of a probe are called in text, and the option that would measure what was not."""

from babel_jax.evolution.probe_findings import Branch, ProbeFindings
from babel_jax.probes.definitions import BY_SCORES
from babel_jax.study.words import as_sentence, language_name, names

DEFINITIONS = {
    "specific": "language-specific",
    "lape_target": "LAPE",
    "lape_both": "LAPE, of both languages",
    "lape_exclusive": "LAPE, of no other language",
    "pair_shared": "pair-shared",
    "centroid_type1": "centroid, type 1",
    "centroid_type2": "centroid, type 2",
    "causal": "causal",
    "pls": "attribution (PLS)",
}
VARIED = {
    "top_rate": "share of neurons that is selected",
    "filter_rate": "rank of the filter",
    "entropy": "evenness that is asked for",
    "score": "least score",
    "ratio": "least ratio",
}
FEW = 10  # prompts of a pair: fewer make its interval wide


def definition(name: str) -> str:
    return DEFINITIONS.get(name, name.replace("_", " "))


def set_name(label: str) -> str:
    """A set of neurons, "definition:language"."""
    name, _, language = label.partition(":")
    return f"{definition(name)}, {language_name(language)}" if language else f"{definition(name)}, any language"


def no_prompts(findings: ProbeFindings, language: str | None = None) -> str:
    """Why nothing was read at prompts: a clause."""
    whose = f" in {language_name(language)}" if language else ""
    return (
        f"there are no prompts{whose}; give prompts of your own with --prompts, or texts with calls of identifiers that the "
        "languages’ pairs hold"
    )


def missing(findings: ProbeFindings) -> list[str]:
    """What was not measured, and which option would: sentences."""
    branches, said = findings.branches, []
    without = [name for name in findings.languages if not any(key[1] == name for b in branches for key in b.lens)]
    if without:
        said.append(f"No working language in {names(without)}: {no_prompts(findings)}.")
    said += dict.fromkeys(message for b in branches for message in messages(b))
    said += [sentence for language in findings.languages if (sentence := _few(findings, language))]
    if len(without) < len(findings.languages) and not any(b.alignment for b in branches):
        said.append(
            "No alignment: no prompts are marked as saying the same in two languages; a file for --prompts can do so (its field "
            "item)."
        )
    if not any(key[0] == "bits_per_byte" for b in branches for key in b.losses):
        said.append(
            "No bits per byte: these texts do not say how many bytes a token stands for; losses are in nats per token."
        )
    if not any(b.is_followed for b in branches):
        said.append("Nothing is followed: there is one checkpoint. Births and deaths of neurons need two.")
    if not any(b.causes for b in branches):
        said.append("No causes: no neurons were changed; ask for it with --interventions=zero.")
    if absent := [
        definition(name) for name in BY_SCORES if not any((key[0] == name) for b in branches for key in b.neurons)
    ]:
        said.append(
            f"Not counted: {', '.join(absent)} neurons, which take passes of their own; ask for them with --definitions."
        )
    if not any(b.tuned for b in branches):
        said.append("No tuned lens; ask for one with --tuned_lens=250 (steps of training for each checkpoint).")
    return said


def messages(branch: Branch) -> list[str]:
    """What the reader of the texts has to say of them, as sentences."""
    return [as_sentence(message) for message in branch.record.get("about", {}).get("messages", [])]


def pairs_of(findings: ProbeFindings, language: str) -> list[dict]:
    """All pairs of a language's prompts, {"primary", "new", "prompts"}, those without a prompt last."""
    record = findings.branches[0].record
    pairs = record.get("texts", {}).get(language, {}).get("pairs", [])
    known, without = {pair["pair"] for pair in pairs}, []
    for of in record.get("about", {}).get("pairs", {}).values():
        for number, (name, count) in enumerate(zip(of["names"], of["prompts"].get(language, ()), strict=False)):
            if number not in known and not count:
                without.append(dict(zip(("primary", "new"), name.split("/", 1), strict=True)) | {"prompts": 0})
    return pairs + without


def few_pairs(findings: ProbeFindings, language: str) -> list[dict]:
    """Those of them that have few prompts."""
    return [pair for pair in pairs_of(findings, language) if pair["prompts"] < FEW]


def _few(findings: ProbeFindings, language: str) -> str:
    """Which pairs have few prompts; "" where all have enough."""
    few, count = few_pairs(findings, language), len(pairs_of(findings, language))
    if not few:
        return ""
    shown = "; ".join(
        f"{pair['primary'].strip()} / {pair['new'].strip()} {pair['prompts']}" for pair in few[:MOST_NAMED]
    )
    more = "; and others" * (len(few) > MOST_NAMED)
    return (
        f"{len(few)} of {count} pairs have fewer than {FEW} prompts in {language_name(language)} ({shown}{more}): more "
        "held-out texts, or --prompts of your own, would narrow the intervals."
    )


MOST_NAMED = 12
