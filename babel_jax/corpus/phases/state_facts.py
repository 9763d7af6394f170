"""Phase `facts`, one task where the manifest asks for facts: which of them are stated in which languages."""

import dataclasses

from babel_jax.common.files import write_json
from babel_jax.corpus import fact_sources, stated_facts
from babel_jax.corpus.build_folder import digests
from babel_jax.corpus.phases.document_tables import Documents, rows_by_split
from babel_jax.corpus.records import Written

TASK = "facts"


def tasks(work, plan):
    return [TASK] if plan.manifest.facts else []


def run(work, plan, task):
    def texts(language):
        for piece in plan.pieces[language]:
            for rows in rows_by_split(work, piece).values():
                yield from Documents(work, [piece]).texts(rows)

    languages = [plan.manifest.language(name) for name in plan.pieces]
    target = work / "corpus" / stated_facts.FILE
    write_json(target, dataclasses.asdict(fact_sources.draw(plan.manifest.facts, languages, texts)))
    return Written(digests(work, [target]))
