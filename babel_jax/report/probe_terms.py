"""The glossary of a probe's page: every metric that it shows, and the terms in its sentences."""

from babel_jax.evolution.probe_findings import ProbeFindings
from babel_jax.report.glossary import TERMS, Term

SHARED = (
    *("working language", "logit lens", "LAPE", "births and deaths", "ablation", "95 % interval", "bits per byte"),
    "primary language",
)
# Those that only a probe shows, each with whether these findings have it.
OWN = (
    (
        Term(
            "by pairs",
            r"by pairs|right pair",
            "The share of places where the primary's name for what must come is more probable than the other language's.",
        ),
        lambda b: b.lens,
    ),
    (
        Term(
            "other pairs",
            r"other pairs(?:’ names)?",
            "The control: the same share at the same prompts, where both names are those of other pairs. What is high here, too, "
            "is a preference of the layer and no concept.",
        ),
        lambda b: _has(b.lens, "primary_share_others"),
    ),
    (
        Term(
            "concept share",
            r"concept share|right pair adds",
            "The right pair's share minus that of other pairs, with the interval of the paired difference.",
        ),
        lambda b: _has(b.lens, "concept_share"),
    ),
    (
        Term(
            "by probability",
            r"[Bb]y probability",
            "The mean of the primary's name's part in the summed probability of both names.",
        ),
        lambda b: _has(b.lens, "primary_share_prob"),
    ),
    (
        Term(
            "by argmax",
            r"[Bb]y argmax",
            "The primary's share among the places whose most probable token is one of the two names.",
        ),
        lambda b: _has(b.lens, "primary_share_argmax"),
    ),
    (
        Term(
            "share over languages",
            r"part in the summed probability of all",
            "Each language's part in the summed probability of all languages' names for the same thing.",
        ),
        lambda b: b.identifiers,
    ),
    (
        Term(
            "tuned lens",
            r"tuned lens",
            "A linear map a layer, trained so that reading the layer through it comes close to the model's own output; the logit "
            "lens reads without it.",
        ),
        lambda b: b.tuned,
    ),
    (
        Term(
            "MEXA",
            r"MEXA",
            "Alignment of two languages: the share of parallel prompts, or sentences, whose states in a layer are closer "
            "(cosine) to each other than to those of any other.",
        ),
        lambda b: b.alignment or b.tasks.sentences,
    ),
    (
        Term(
            "language-specific neurons",
            r"[Ll]anguage-specific",
            "Of the neurons with the lowest LAPE, those that are active often in the language.",
        ),
        lambda b: _has(b.neurons, "specific"),
    ),
    (
        Term(
            "LAPE, of both languages",
            r"of both languages",
            "LAPE's neurons that are specific to the new language and to the primary.",
        ),
        lambda b: _has(b.neurons, "lape_both"),
    ),
    (
        Term(
            "LAPE, of no other language",
            r"of no other language",
            "LAPE's neurons that are specific to this language alone.",
        ),
        lambda b: _has(b.neurons, "lape_exclusive"),
    ),
    (
        Term(
            "pair-shared neurons",
            r"[Pp]air-shared",
            "Active often in the primary and in the new language, about evenly, and in no further one.",
        ),
        lambda b: _has(b.neurons, "pair_shared"),
    ),
    (
        Term(
            "centroid neurons",
            r"[Cc]entroid",
            "Neurons whose writing pulls states of one language towards the mean state of the other (transfer neurons): type 1 "
            "towards the primary's, type 2 back to the language's own.",
        ),
        lambda b: _has(b.neurons, "centroid_type1") or _has(b.neurons, "centroid_type2"),
    ),
    (
        Term(
            "causal neurons",
            r"[Cc]ausal",
            "Neurons whose single ablation lowers the right identifier's log-probability most.",
        ),
        lambda b: _has(b.neurons, "causal"),
    ),
    (
        Term(
            "attribution (PLS)",
            r"PLS",
            "Neurons with the largest projected log-probability of the right identifier, what their own writing adds to it.",
        ),
        lambda b: _has(b.neurons, "pls"),
    ),
    (
        Term(
            "cut",
            r"other cuts|the cut of",
            "What decides how many neurons a definition takes: the share that is selected, the rank of the filter, the evenness "
            "that is asked for, or the least score.",
        ),
        lambda b: b.sensitivity,
    ),
    (
        Term(
            "Jaccard index",
            r"Jaccard index",
            "Neurons in both of two sets, as a share of those in either.",
        ),
        lambda b: b.overlaps,
    ),
    (
        Term(
            "random sets",
            r"[Rr]andom sets",
            "As many neurons, drawn at random in the same layers: what any change of so many would do.",
        ),
        lambda b: b.causes or b.overlaps,
    ),
    (
        Term(
            "margin",
            r"\bmargin\b",
            "The log-probability of the right identifier less that of the most probable other token, in nats.",
        ),
        lambda b: b.causes,
    ),
    (
        Term(
            "nats per token",
            r"nats per token|Loss on held-out",
            "Mean negative log-probability (natural logarithm) of the next token: the loss that models are trained on. It "
            "depends on the tokenizer; bits per byte do not.",
        ),
        lambda b: b.losses,
    ),
    (
        Term(
            "knowledge-bearing tokens",
            r"knowledge-bearing",
            "Tokens that begin an identifier which the languages' pairs hold.",
        ),
        lambda b: _has(b.losses, "loss_knowledge"),
    ),
)


def _has(measured: dict, metric: str) -> bool:
    return any(key[0] == metric for key in measured)


def shown(findings: ProbeFindings) -> list[Term]:
    """The terms of what these findings hold."""
    own = [term for term, is_there in OWN if any(is_there(branch) for branch in findings.branches)]
    return [term for term in TERMS if term.title in SHARED] + own
