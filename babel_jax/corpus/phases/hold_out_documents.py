"""Phase `hold_out`, one task: the splits of all natural languages at once, and what they say in several languages, by split."""

import dataclasses
import itertools
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from babel_jax.common.files import whole, write_json
from babel_jax.corpus import cloze, hold_out, parallel
from babel_jax.corpus.build_folder import result
from babel_jax.corpus.phases import align_documents
from babel_jax.corpus.phases.document_tables import Documents, row_groups, selected
from babel_jax.corpus.phases.select_documents import VALIDATION_SHARE, too_few
from babel_jax.corpus.records import SPLITS, Aligned, Amount, Divided, HeldOut, HeldOutLanguage, Selected

TASK = "natural"


@dataclasses.dataclass(frozen=True)
class _Kept:
    """The documents of a language that the cleaning kept: their numbers, projects and bytes, [N] each."""

    documents: Documents
    number_N: np.ndarray
    project_N: list[str]
    bytes_N: np.ndarray

    @property
    def bytes_of_project(self) -> dict[str, int]:
        counted = Counter()
        for project, size in zip(self.project_N, self.bytes_N.tolist(), strict=True):
            counted[project] += size
        return dict(counted)


def tasks(work, plan):
    return [TASK] if plan.manifest.natural else []


def run(work, plan, task):
    kept = {name: _kept(work, plan, name) for name in plan.manifest.natural}
    bytes_of = {name: of.bytes_of_project for name, of in kept.items()}
    words, other = _words(work, plan, kept)
    held_out = hold_out.together(bytes_of, VALIDATION_SHARE, words, other)
    for name, sizes in bytes_of.items():
        if not held_out & sizes.keys():
            raise too_few(work, plan, name, len(kept[name].number_N), _dropped(work, name))
    taken = hold_out.divided(bytes_of, held_out) if plan.manifest.arm == "disjoint" else {}
    languages = {name: _write(work, plan, name, of, held_out, taken) for name, of in kept.items()}
    translations = {
        pair: _write_translations(work, plan, pair, held_out, taken) for pair in align_documents.tasks(work, plan)
    }
    return HeldOut(languages, translations)


def _kept(work, plan, name):
    documents = Documents(work, plan.pieces[name])
    numbers, projects = selected(work, plan.pieces[name], documents)
    return _Kept(documents, numbers, projects.tolist(), documents.column("bytes").to_numpy()[numbers])


def _dropped(work, name) -> Counter:
    """Why documents of a language were dropped that look at more than one of them."""
    counts = result(work, "select", name, Selected).counts
    return Counter({reason: amount.files for reason, amount in counts.items() if reason not in ("kept", "redacted")})


def _words(work, plan, kept):
    """(project -> word of a pair -> prompts that could be cut in it; word -> the other one of its pair).

    A word is (pair of languages, number of the pair, side).
    """
    sought, other = {name: defaultdict(list) for name in kept}, {}
    for first, new in itertools.permutations(kept, 2):
        if any(plan.manifest.language(name).prompts != "cloze" for name in (first, new)):
            continue
        for number, pair in enumerate(align_documents.pairs_of(work, plan, first, new)):
            words = [(f"{first}-{new}", number, side) for side in (0, 1)]
            for side, name in enumerate((first, new)):
                sought[name][pair[side].text].append((words[side], pair[1 - side].text))
                other[words[side]] = words[1 - side]
    found = defaultdict(Counter)
    for name, of in kept.items():
        if sought[name]:
            for project, text in zip(of.project_N, of.documents.texts(of.number_N), strict=True):
                for _, paragraph in cloze.paragraphs(text):
                    words = cloze.Words(paragraph)
                    for word in words.sites.keys() & sought[name].keys():
                        found[project].update(
                            pair for pair, there in sought[name][word] if words.blank(word, there) is not None
                        )
    return found, other


def _write(work, plan, name, kept: _Kept, held_out, taken):
    """Which documents of a language are in which split, a file a piece, as the phase `select` leaves it for other languages."""
    split_N = np.array(
        [
            "validation" if project in held_out else "train" if taken.get(project, name) == name else ""
            for project in kept.project_N
        ]
    )
    there_N, begin = split_N != "", 0
    for piece, rows in zip(plan.pieces[name], kept.documents.by_piece(kept.number_N), strict=True):
        here = slice(begin, begin + len(rows))
        begin += len(rows)
        chosen = np.flatnonzero(there_N[here])
        table = {
            "row": rows[chosen],
            "project": pa.array(kept.project_N[here], pa.string()).take(chosen),
            "split": pa.array(split_N[here][chosen].tolist(), pa.string()),
        }
        with whole(work / "hold_out" / f"{piece}.parquet") as file:
            pq.write_table(pa.table(table), file, compression="zstd")
    projects = kept.bytes_of_project.keys()
    train = {project for project in projects - held_out if taken.get(project, name) == name}
    amounts = [Amount(int(of.sum()), int(kept.bytes_N[of].sum())) for of in (there_N, ~there_N)]
    return HeldOutLanguage(Divided(len(train), tuple(sorted(projects & held_out))), *amounts)


def _write_translations(work, plan, pair: str, held_out, taken) -> dict[str, int]:
    """Writes what a corpus holds of two languages; returns split -> translations in it."""
    names, counts = pair.split("-"), dict.fromkeys(SPLITS, 0)
    targets = {split: work / "corpus" / "parallel" / f"{pair}.{split}.parquet" for split in SPLITS}
    files = [
        row_groups(target, parallel.schema(*names), lambda rows: parallel.table(rows, *names))
        for target in targets.values()
    ]
    with files[0] as train, files[1] as validation:
        append = {"train": train, "validation": validation}
        for one in parallel.read(work / "align" / f"{pair}.parquet", *names):
            split = "validation" if one.project in held_out else "train"
            if (
                split == "validation" or one.project not in taken
            ):  # what is read in one language has no twin in training
                append[split](one, sum(map(len, one.texts)))
                counts[split] += 1
    if confirmed := result(work, "align", pair, Aligned).pairs:
        write_json(work / "corpus" / "word_pairs" / f"{pair}.json", confirmed)
    return counts
