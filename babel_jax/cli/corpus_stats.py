"""Says what of a corpus was read, dropped and kept, and how many tokens it has.

python -m babel_jax corpus stats corpora/mine
"""

from babel_jax.cli import kinds
from babel_jax.cli.parser import Arguments
from babel_jax.common.errors import printable


def add_arguments(parser) -> None:
    parser.add_argument("corpus", type=kinds.local, help="a folder that `corpus build` made")


def run(arguments: Arguments) -> None:
    print_stats(arguments.corpus)


def print_stats(directory) -> None:
    """Prints what was kept and dropped, and draws the figure of it."""
    from babel_jax.corpus import corpus_files
    from babel_jax.report import funnel  # it loads pandas and matplotlib

    corpus = corpus_files.load(directory)
    print(stats_table(corpus))
    for figure in funnel.build(corpus.directory, lambda name: corpus.language(name).title):
        print(f"figure: {printable(figure)}")


def stats_table(corpus) -> str:
    """What was kept and what was dropped, in lines for the terminal."""
    stats = corpus.stats
    lines = [line for name, of in stats.languages.items() for line in _language_lines(corpus.language(name).title, of)]
    for pair, of in stats.parallel.items():
        lines += _parallel_lines(pair, of)
    for pair, sites in stats.call_sites.items():
        lines.append(f"call sites {pair}:")
        for names, *counts in zip(sites.pairs, *sites.prompts.values(), strict=True):
            amounts = [f"{count} in {name}" for name, count in zip(sites.prompts, counts, strict=True)]
            lines.append(f"  {names}: {', '.join(amounts)}")
        lines += [f"  {message}" for message in sites.messages]
    lines += _fact_lines(corpus) if corpus.facts else []
    primary, *new = stats.languages
    lines += [few for name in new if (few := corpus.too_few_pairs(primary, name))]
    return "\n".join(lines)


def _parallel_lines(pair: str, of) -> list[str]:
    """What stands in two natural languages, and what became of the pairs of words that dictionaries have."""
    if not (of.words or any(of.translations.values())):
        return []
    lines = [
        f"parallel {pair}: {of.translations['train']} sentences to train on, {of.translations['validation']} held out"
    ]
    if of.words:
        known, *reasons = of.words.items()
        confirmed = known[1] - sum(count for _, count in reasons)
        lines.append(f"  pairs of words: {confirmed} confirmed of {known[1]} in dictionaries")
        lines += [f"    dropped: {reason.replace('_', ' ')}: {count}" for reason, count in reasons if count]
    return lines


def _fact_lines(corpus) -> list[str]:
    """What was written into the training text to be asked."""
    facts, shared = corpus.facts, sum(corpus.facts.shared)
    primary, *new = (corpus.language(name).title for name in facts.languages)
    lines = [
        f"facts ({facts.kind}): {len(facts.facts)}, each {facts.times} times; {shared} in all languages, "
        f"{len(facts.facts) - shared} in {primary} alone; {facts.unfit} unfit: mistakable, or to be guessed"
    ]
    for name, title in zip(facts.languages[1:], new, strict=True):
        lines.append(f"  {facts.leaked[name]} stand in {title} text already, which are among those in all languages")
    for name, title in zip(facts.languages, (primary, *new), strict=True):
        rows, of_text = len(corpus.train[name]), corpus.stats.languages[name].train.rows
        lines.append(f"  {title}: {rows - of_text} rows of facts, {(rows - of_text) / rows:.1%} of those trained on")
    return lines


def _language_lines(title: str, stats) -> list[str]:
    from babel_jax.corpus.records import SPLITS

    read = stats.cleaning["found"]
    lines = [f"{title}: {read.files} files, {read.bytes / 1e6:.1f} MB found"]
    for reason, amount in stats.cleaning.items():
        if amount.files and reason != "found":
            reason = reason if reason in ("kept", "redacted") else f"dropped: {reason.replace('_', ' ')}"
            lines.append(f"  {reason}: {amount.files} files, {amount.bytes / 1e6:.2f} MB")
    for reason, amount in stats.paragraphs.items():
        if amount.files:
            reason = reason if reason in ("found", "kept") else f"dropped: {reason.replace('_', ' ')}"
            lines.append(f"  paragraphs {reason}: {amount.files}, {amount.bytes / 1e6:.2f} MB")
    if stats.redactions:
        redacted = ", ".join(f"{count} x {kind.replace('_', ' ')}" for kind, count in stats.redactions.items())
        lines.append(f"  redacted in what is kept: {redacted}")
    if stats.contaminated:
        names = list(map(printable, stats.contaminated))
        lines.append(f"  {len(names)} benchmark problems found: {', '.join(names[:5] + ['…'] * (len(names) > 5))}")
    for split in SPLITS:
        part = stats.of(split)
        lines.append(
            f"  {split}: {part.documents} files, {part.bytes / 1e6:.2f} MB, {part.tokens / 1e6:.3f} M tokens "
            f"({part.bytes_per_token:.2f} bytes each), {part.rows} rows"
        )
    return lines
