"""Phase `align`, a task a pair of natural languages: what stands in both, and the pairs of words that it confirms."""

import itertools

import numpy as np
import pyarrow.compute as pc

from babel_jax.corpus import dictionaries, parallel, word_pairs
from babel_jax.corpus.build_folder import result
from babel_jax.corpus.document import PARAGRAPH
from babel_jax.corpus.phases.document_tables import Documents, row_groups, selected
from babel_jax.corpus.records import Aligned
from babel_jax.languages.language import Pairs

AT_ONCE = 32_000_000  # bytes of documents of both languages that are in memory


def tasks(work, plan):
    return ["-".join(two) for two in itertools.combinations(plan.manifest.natural, 2)]


def run(work, plan, task):
    names = task.split("-")
    languages = tuple(map(plan.manifest.language, names))
    target, count = work / "align" / f"{task}.parquet", 0
    with row_groups(target, parallel.schema(*names), lambda rows: parallel.table(rows, *names)) as append:
        for project, first, second in _shared(work, plan, names):
            for translation in parallel.translations(project, first, second, languages):
                append(translation, sum(map(len, translation.texts)))
                count += 1
    entries = entries_between(plan.manifest.dictionaries, *names)
    if not entries:
        return Aligned(count, (), {})
    nouns = [plan.manifest.languages[name].nouns for name in names]
    nouns = tuple(dictionaries.nouns(file) if file else frozenset() for file in nouns)
    sentences = (one.texts for one in parallel.read(target, *names))
    found = word_pairs.find(entries, languages, nouns, sentences)
    return Aligned(count, found.pairs, {"dictionaries": sum(found.fell.values()) + len(found.pairs)} | found.fell)


def entries_between(given, first: str, second: str) -> list[dictionaries.Entry]:
    """What a manifest's dictionaries say of two languages, also by way of a third one."""
    read = [(one.headwords, one.translations, one.path) for one in given]
    # Every dictionary can be read from either side.
    sides = [*read, *((there, here, path) for here, there, path in read)]
    entries = [
        entry for here, there, path in sides if (here, there) == (first, second) for entry in _read(path, given, here)
    ]
    for here, middle, path in sides:
        for other, there, further in sides:
            if (here, there) == (first, second) and middle == other:
                entries += word_pairs.bridged(_read(path, given, here), _read(further, given, other))
    return entries


def _read(path, given, headwords):
    """A dictionary's entries from this language to the other."""
    entries = dictionaries.read(path)
    if next(one.headwords for one in given if one.path == path) == headwords:
        return entries
    return [dictionaries.Entry(entry.translation, entry.headword, entry.noun) for entry in entries]


def _shared(work, plan, names):
    """(project, its paragraphs by key in either language) of the projects that stand in both, some at a time in memory."""
    documents, rows_of, bytes_of = [], [], []
    for name in names:
        of = Documents(work, plan.pieces[name])
        kept, projects = selected(work, plan.pieces[name], of)
        keyed = pc.list_value_length(of.column("keys")).to_numpy()[kept] > 0
        size = of.column("bytes").to_numpy()[kept]
        rows, sizes = {}, {}
        for row, project, bytes_here in zip(
            *(column[keyed].tolist() for column in (kept, projects, size)), strict=True
        ):
            rows.setdefault(project, []).append(row)
            sizes[project] = sizes.get(project, 0) + bytes_here
        documents.append(of)
        rows_of.append(rows)
        bytes_of.append(sizes)
    shared = sorted(rows_of[0].keys() & rows_of[1].keys())
    begun = np.cumsum([sum(sizes[project] for sizes in bytes_of) for project in shared], dtype=np.int64) // AT_ONCE
    for _, group in itertools.groupby(zip(begun.tolist(), shared, strict=True), lambda item: item[0]):
        together = [project for _, project in group]
        paragraphs = [_paragraphs(of, rows, together) for of, rows in zip(documents, rows_of, strict=True)]
        yield from ((project, *(of[project] for of in paragraphs)) for project in together)


def _paragraphs(documents, rows, projects):
    """project -> key -> paragraph."""
    of_row = {row: project for project in projects for row in rows[project]}
    chosen, found = np.array(sorted(of_row)), {project: {} for project in projects}
    for row, document in zip(chosen.tolist(), documents.rows(chosen, ["keys", "content"]), strict=True):
        found[of_row[row]].update(zip(document["keys"], document["content"].split(PARAGRAPH), strict=True))
    return found


def pairs_of(work, plan, primary: str, new: str) -> Pairs:
    """The identifiers of the same meaning: those that the new language's record has, then the words that texts confirm."""
    pairs = plan.manifest.language(new).pairs.get(primary, ())
    if f"{primary}-{new}" not in tasks(work, plan):
        return pairs
    confirmed = result(work, "align", f"{primary}-{new}", Aligned).pairs
    return word_pairs.with_words(pairs, confirmed)
