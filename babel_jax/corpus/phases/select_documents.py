"""Phase `select`, a task a language: every document's fate, and the project of those that are kept; of code also the split."""

import json
import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from babel_jax.common.errors import UserError
from babel_jax.common.files import whole
from babel_jax.corpus import duplicates, projects, prose
from babel_jax.corpus.build_folder import result
from babel_jax.corpus.phases.document_tables import Documents
from babel_jax.corpus.records import Amount, Cleaned, Divided, Selected
from babel_jax.corpus.rules import LATER, REASONS, NearDuplicates

VALIDATION_SHARE = 0.05  # of a language's bytes
FATES = ("kept", *(reason for step in LATER for reason in REASONS[step]))


def run(work, plan, name):
    documents = Documents(work, plan.pieces[name])
    fate, after_redaction, problems = _judge(work, plan, name, documents)
    size, left = (documents.column(column).to_numpy() for column in ("size", "bytes"))
    kept = np.flatnonzero(fate == 0)
    project_of_kept = _projects(documents, kept, left)
    bytes_of_project = Counter()
    for project, count in zip(project_of_kept, left[kept].tolist(), strict=True):
        bytes_of_project[project] += count
    # Natural languages are divided all at once, see the phase `hold_out`.
    is_natural = plan.manifest.language(name).kind == "natural"
    held_out = set() if is_natural else projects.held_out(bytes_of_project, VALIDATION_SHARE)
    if not held_out and not is_natural:
        raise too_few(work, plan, name, len(kept), Counter(FATES[k] for k in fate[fate > 0]))
    begin = 0
    for piece, rows in zip(plan.pieces[name], documents.by_piece(kept), strict=True):
        here = project_of_kept[begin : begin + len(rows)]
        begin += len(rows)
        table = {"row": rows, "project": pa.array(here, pa.string())}
        if not is_natural:
            splits = ["validation" if project in held_out else "train" for project in here]
            table["split"] = pa.array(splits, pa.string())
        with whole(work / "select" / f"{piece}.parquet") as file:
            pq.write_table(pa.table(table), file, compression="zstd")

    redacted = dict(zip(kept.tolist(), documents.column("redacted").take(kept).to_pylist(), strict=True))
    redacted = {i: json.loads(kinds) for i, kinds in redacted.items() if kinds}
    redactions = Counter()
    for kinds in redacted.values():
        redactions.update(kinds)
    # Until redaction a document counts as its source has it, from there on as redaction left it.
    counted = np.where(after_redaction, left, size)
    counts = {reason: Amount(int((fate == k).sum()), int(counted[fate == k].sum())) for k, reason in enumerate(FATES)}
    counts["redacted"] = Amount(len(redacted), int(left[list(redacted)].sum()))
    return Selected(
        counts,
        redacted_bytes=int((size - left)[after_redaction].sum()),
        redactions=dict(sorted(redactions.items())),
        contaminated=dict(sorted(problems.items())),
        projects=None if is_natural else Divided(len(bytes_of_project) - len(held_out), tuple(sorted(held_out))),
        amount=(len(documents), int(size.sum())),
    )


def too_few(work, plan, name, kept: int, dropped: Counter) -> UserError:
    """What to say of a language of which nothing can be held out. `dropped`: by the steps of this phase."""
    for piece in plan.pieces[name]:
        counts = result(work, "clean", piece, Cleaned).counts
        dropped.update({reason: amount.files for reason, amount in counts.items() if reason not in ("found", *FATES)})
    reason, most = max(dropped.items(), key=lambda item: item[1], default=("", 0))
    steps = [step for step, reasons in REASONS.items() if reason in reasons]
    why = f" ({most} were dropped as {reason.replace('_', ' ')}, see `clean.{steps[0]}`)" if most else ""
    return UserError(
        f"only {kept} {plan.manifest.language(name).title} files are fit to train on, too few to hold some out{why}; give more."
    )


def _judge(work, plan, name, documents):
    """(numbers of FATES [D], bool [D]: was still there when redaction came, Counter of the benchmark problems in them)."""
    steps, digest_Dx2x16 = plan.manifest.clean, documents.bytes_column("digest", 32).reshape(-1, 2, 16)
    fate = np.zeros(len(documents), np.uint8)

    def drop(indices, reason):
        fate[indices] = FATES.index(reason)

    is_prose = prose.is_prose(plan.manifest.language(name))
    if is_prose:  # the phase `paragraphs` has dropped all copies
        drop(documents.column("bytes").to_numpy() == 0, "duplicate")
    elif steps.exact_duplicates:
        copies = duplicates.exact(digest_Dx2x16)
        for kind, reason in enumerate(REASONS["exact_duplicates"], 1):
            drop(copies == kind, reason)
    if steps.near_duplicates and not is_prose:
        near = _near(work, documents, name, np.flatnonzero(fate == 0), steps.near_duplicates)
        drop(near, "near_duplicate")
    problems = Counter()
    for i, problem in enumerate(documents.column("contaminated").to_pylist()):
        if problem and fate[i] == 0:
            problems[problem] += 1
            drop(i, "contaminated")
    after_redaction = fate == 0
    for i, reason in enumerate(documents.column("poor").to_pylist()):
        if reason and fate[i] == 0:
            drop(i, reason)
    megabytes = plan.manifest.languages[name].max_megabytes
    if megabytes:
        kept = np.flatnonzero(fate == 0)
        drawn = kept[np.argsort(digest_Dx2x16[kept, 0, :8].copy().view(">u8")[:, 0], kind="stable")]
        drop(drawn[np.cumsum(documents.column("bytes").to_numpy()[drawn]) > megabytes * 1e6], "cap")
    return fate, after_redaction, problems


def _near(work, documents, name, candidates, options: NearDuplicates):
    """Those of the candidates that nearly copy an earlier one."""
    if options.by == "datatrove":
        folder = work / "select" / f"{name}.datatrove"
        rows = documents.by_piece(candidates)
        near = duplicates.near_datatrove(documents.files, rows, options.threshold, folder)
        shutil.rmtree(folder / "logs")  # by which it knows what is done; a kill must not leave them without the files
        shutil.rmtree(folder)
        return candidates[near >= 0]

    def texts(indices):
        return list(documents.texts(candidates[indices]))

    signature_DxP = documents.bytes_column("signature", 4 * duplicates.PERMUTATIONS).view(np.uint32)
    return candidates[duplicates.near(signature_DxP[candidates], texts, options.threshold) >= 0]


def _projects(documents, kept, size):
    """The project of each document at `kept`: the one that its source names, else by its path."""
    paths = documents.column("path").take(kept).to_pylist()
    by_path = projects.Projects(zip(paths, size[kept].tolist(), strict=True), VALIDATION_SHARE)
    named = documents.column("project").take(kept).to_pylist()
    return [project or by_path.project(path) for project, path in zip(named, paths, strict=True)]
