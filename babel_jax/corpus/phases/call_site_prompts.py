"""Phase `call_sites`, a task a pair of languages: prompts from the held-out documents of both."""

import io

import numpy as np

from babel_jax.common.files import write_atomic
from babel_jax.corpus import call_sites
from babel_jax.corpus.build_folder import digests
from babel_jax.corpus.corpus_files import heldout
from babel_jax.corpus.phases import align_documents
from babel_jax.corpus.phases.vocabulary import corpus_tokenizer
from babel_jax.corpus.records import CallSites, Mined
from babel_jax.languages import registry


def tasks(work, plan):
    known = [name for name in registry.LANGUAGES if name in plan.pieces]
    known += [name for name in plan.pieces if name not in known]
    return [
        f"{primary}-{new}"
        for new in known
        for primary in dict.fromkeys((*plan.manifest.language(new).pairs, *plan.manifest.natural))
        if primary in plan.pieces and align_documents.pairs_of(work, plan, primary, new)
    ]


def run(work, plan, task):
    """The prompts of a pair in both languages, and how many there are."""
    manifest, model = plan.manifest, corpus_tokenizer(work)
    primary, new = task.split("-")
    pairs = align_documents.pairs_of(work, plan, primary, new)
    arrays, messages, counts = {}, [], {}
    for side, name in enumerate((primary, new)):
        mined = [(pair[side], pair[1 - side]) for pair in pairs]
        documents, language = heldout(work / "corpus", name), manifest.language(name)
        prompts, rejected = call_sites.mine(
            documents, language, mined, model, manifest.max_length, manifest.prompts_per_pair
        )
        messages += rejected
        slots = call_sites.slots(prompts, side == 0, manifest.max_length, model.padding)
        arrays |= {f"{name}/{column}": array for column, array in slots.items()}
        counts[name] = tuple(np.bincount(slots["pair"], minlength=len(pairs)).tolist())
    target = work / "corpus" / "call_sites" / f"{task}.npz"
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(target, buffer.getvalue())
    names = tuple(f"{first.text}/{second.text}" for first, second in pairs)
    return Mined(digests(work, [target]), CallSites(names, counts, tuple(messages)))
