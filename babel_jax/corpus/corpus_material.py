"""A corpus of real source code as the material of a study."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.common.files import content_hash
from babel_jax.common.material import Asked, Material
from babel_jax.corpus import corpus_files, corpus_tasks, slot_columns
from babel_jax.corpus.corpus_files import Corpus
from babel_jax.corpus.fact_questions import FACTS
from babel_jax.corpus.questions import TaskTexts, first
from babel_jax.languages import registry


@functools.lru_cache(maxsize=1)
def material(directory: str | Path, primary: str, new: str, heldout_rows: int, prompt_tokens: int) -> Material:
    """Opens the corpus in `directory`; the first `heldout_rows` rows of each language's validation split are measured on.

    Prompts at call sites are cut on the left to `prompt_tokens`, which is most of the cost of measuring.
    Knowledge-bearing tokens are, with real code, those that begin an identifier of the pairs, in either language.
    """
    if not directory:
        raise UserError(
            "this study needs a corpus; give --config.corpus=DIR (made by `python -m babel_jax corpus build`)."
        )
    if not files.is_local(files.path(directory)):
        raise UserError(
            f"the corpus {directory} is a bucket's; rows are read at random: copy it to a disk of every host, or mount it."
        )
    corpus = corpus_files.load(Path(directory))
    for language in (primary, new):
        if language not in corpus.train:
            raise UserError(
                f"the corpus {directory} has no {language}, only {', '.join(corpus.train)}; build it with both."
            )
    slots = {language: _shortened(prompts, prompt_tokens) for language, prompts in corpus.slots(primary, new).items()}
    for language, here in slots.items():
        slots[language] = here | slot_columns.spaced(here, language == primary, corpus.tokenizer)
    identifier_ids = np.unique(
        np.concatenate([slots[k][name] for k in (primary, new) for name in ("primary_id", "new_id")])
    )
    end = corpus.tokenizer.document_end
    heldout = {}
    for language in (primary, new):
        rows = corpus.validation[language]
        tokens = rows.rows(np.arange(min(heldout_rows, len(rows))))
        targets = tokens[:, 1:]
        counts = tokens[:, :-1] != end  # a document's first token is predicted by nothing
        heldout[language] = {
            "tokens": tokens,
            "loss": counts,
            "knowledge": counts & np.isin(targets, identifier_ids),
            "bytes": corpus.tokenizer.token_bytes_V[targets].astype(np.float64),
        }
    tasks, _ = tasks_in(corpus, primary, new, new)
    control = {f"{language}_control": language for language in corpus.control}
    return Material(
        primary=primary,
        new=new,
        vocab_size=corpus.tokenizer.vocab_size,
        max_length=heldout[primary]["tokens"].shape[1] - 1,
        frozen_rows=0,
        sources=corpus.train | {name: corpus.control[language] for name, language in control.items()},
        source_language={language: language for language in corpus.train} | control,
        heldout=heldout,
        loss_weight_V=np.ones(corpus.tokenizer.vocab_size, np.float32),
        document_end=end,
        slots=slots,
        problems=None,
        tasks=tasks,
        facts=_facts(corpus, primary, new) if corpus.facts else {},
        fingerprint=content_hash([dataclasses.asdict(corpus.manifest), heldout_rows, prompt_tokens]),
        token_text=lambda token: corpus.tokenizer.decode([token]),
    )


def several(directory: str | Path, languages: tuple[str, ...], heldout_rows: int, prompt_tokens: int) -> Material:
    """As `material`, with any number of new languages behind the primary.

    Each new language's prompts are those of its own pairs; the primary's are those of its pairs with the first of them.
    """
    of_pairs = [material(directory, languages[0], new, heldout_rows, prompt_tokens) for new in languages[1:]]
    merged = {
        part: {name: values for each in reversed(of_pairs) for name, values in getattr(each, part).items()}
        for part in ("heldout", "slots")
    }
    corpus, (primary, first_new, *_) = corpus_files.load(Path(directory)), languages
    pairs = {name: registry.identifier_pairs(corpus.language(primary), corpus.language(name)) for name in languages[1:]}
    for name, here in merged["slots"].items():
        new = first_new if name == primary else name
        merged["slots"][name] = here | slot_columns.names(here, primary, new, pairs, corpus.tokenizer)
    fingerprint = content_hash([of_pairs[0].fingerprint, list(languages)])
    asked = {name: tasks_in(corpus, primary, first_new, name) for name in languages}
    about = {"messages": [reason for _, reasons in asked.values() for reason in reasons]}
    merged |= {"fingerprint": fingerprint, "about": about}
    return dataclasses.replace(of_pairs[0], **merged).asking({name: tasks for name, (tasks, _) in asked.items()})


def tasks_in(corpus: Corpus, primary: str, new: str, asked_in: str) -> tuple[dict[str, Asked], list[str]]:
    """(by name what is asked in a language of a corpus, sentences about what is not); its pairs are those of two languages."""
    other = primary if asked_in != primary else new
    return _tasks(corpus.directory, corpus.manifest.content, other, asked_in)


@functools.lru_cache(maxsize=32)  # a study opens its material anew for each seed and language
def _tasks(directory: Path, content: str, other: str, asked_in: str) -> tuple[dict[str, Asked], list[str]]:
    corpus = corpus_files.load(directory)
    language, counterpart = corpus.language(asked_in), corpus.language(other)

    # A copy without its text, which no run reads, has rows and prompts; its tasks are those that need none.
    has_text = (directory / "heldout" / f"{asked_in}.parquet").exists()

    lies = corpus.translations_file(other, asked_in)

    def translations():
        return [one.texts for one in corpus.translations(other, asked_in)]

    return corpus_tasks.asked(
        TaskTexts(
            language=language,
            other=counterpart,
            pairs=registry.identifier_pairs(counterpart, language),
            documents=functools.cache(lambda: first(corpus.heldout(asked_in)) if has_text else []),
            translations=translations if lies and lies.exists() else None,
            tokenizer=corpus.tokenizer,
            longest=corpus.manifest.row_length - 1,
            directory=directory,
        )
    )


def _facts(corpus: Corpus, primary: str, new: str) -> dict[str, Asked]:
    """The facts of a corpus, asked in both languages."""
    of_language = {}
    for language in (primary, new):
        tasks, reasons = tasks_in(corpus, primary, new, language)
        if FACTS not in tasks:
            raise UserError(f"{corpus.directory}: {' '.join(reasons)} Build it with a larger --max_length.")
        of_language[language] = tasks[FACTS]
    return of_language


def _shortened(slots: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """Slots whose prompts keep their last `length` tokens at most."""
    tokens_NxT, position_N = slots["tokens"], slots["position"]
    length = min(length, tokens_NxT.shape[1])
    first_N = np.maximum(position_N + 1 - length, 0)
    columns_NxT = first_N[:, None] + np.arange(length)
    return slots | {
        "tokens": np.take_along_axis(tokens_NxT, columns_NxT, axis=1),
        "position": (position_N - first_N).astype(np.int32),
    }
