"""The phases of a build, in their order: what each is called, its tasks, what does one, and the record that it leaves."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from babel_jax.corpus.phases import (
    align_documents,
    call_site_prompts,
    clean_documents,
    hold_out_documents,
    row_shards,
    select_documents,
    state_facts,
    token_files,
    unique_paragraphs,
    vocabulary,
)
from babel_jax.corpus.records import (
    Aligned,
    Cleaned,
    HeldOut,
    Mined,
    Plan,
    Selected,
    Tokenised,
    Unique,
    Vocabulary,
    Written,
)


class Phase(NamedTuple):
    """tasks(work, plan): the names of its tasks, which do not depend on each other; the phases before are done.

    run(work, plan, task): does one in the folder of the build, and returns what the next phases need to know, a `record`.
    """

    tasks: Callable[[Path, Plan], Iterable[str]]
    run: Callable[[Path, Plan, str], object]
    record: type


def _pieces(work, plan):
    return [piece for pieces in plan.pieces.values() for piece in pieces]


PHASES = {
    "clean": Phase(_pieces, clean_documents.run, Cleaned),
    "paragraphs": Phase(unique_paragraphs.tasks, unique_paragraphs.run, Unique),
    "select": Phase(lambda work, plan: plan.pieces, select_documents.run, Selected),
    "align": Phase(align_documents.tasks, align_documents.run, Aligned),
    "hold_out": Phase(hold_out_documents.tasks, hold_out_documents.run, HeldOut),
    "facts": Phase(state_facts.tasks, state_facts.run, Written),
    "vocabulary": Phase(lambda work, plan: [vocabulary.TASK], vocabulary.run, Vocabulary),
    "tokens": Phase(_pieces, token_files.run, Tokenised),
    "rows": Phase(row_shards.tasks, row_shards.run, Written),
    "call_sites": Phase(call_site_prompts.tasks, call_site_prompts.run, Mined),
}
