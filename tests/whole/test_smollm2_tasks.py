"""Tasks of natural languages, asked of a real pretrained model here and by plain transformers: SmolLM2-135M-Instruct.

The sentences are the first ones of the Parallel Universal Dependencies treebanks (tests/samples/ATTRIBUTION.md). Skipped, with
the reason, where torch and transformers are not installed or the model cannot be had. Letters as in common/material.py.
"""

import dataclasses
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import smollm2

from babel_jax.corpus import sentences, word_tasks
from babel_jax.corpus.document import Document
from babel_jax.corpus.questions import TaskTexts
from babel_jax.corpus.tokenizer import HuggingFace
from babel_jax.languages import registry
from babel_jax.languages.language import identifier
from babel_jax.measuring import sentence_scores, task_scores
from babel_jax.model.model_folders import read_model
from babel_jax.probes.subject import Subject

pytestmark = [pytest.mark.oracle, pytest.mark.processes, pytest.mark.slow]
SAMPLES = Path(__file__).parents[1] / "samples/pud"
SENTENCES = 40  # that are looked for
# Nouns of these sentences that do not look alike.
PAIRS = """fate destin, city ville, seeds graines, sleep sommeil, blood sang, steel acier, week semaine, month mois, year an,
    room chambre, school école, girl fille, women femmes, friends amis, plane avion, night nuit, body corps, head tête,
    shoulders épaules, building bâtiment, market marché, power pouvoir, words mots, rules règles, level niveau,
    teachers enseignants, students étudiants, jobs emplois, companies entreprises, trial procès, days jours, rocket fusée,
    field champ, tool outil, people gens, name nom, crowd foule, officers policiers, injuries blessures, emails courriels,
    customers clients, trips voyages, lung poumon, agreement accord, space espace, species espèces, smog brouillard,
    history histoire, months lunes, trail piste, vote scrutin, comments remarques"""


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="smollm2_") as place:
        yield smollm2.unpacked(Path(place))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return HuggingFace((folder / "tokenizer.json").read_bytes())


@pytest.fixture(scope="module")
def theirs(folder):
    return smollm2.by_transformers(folder)


@pytest.fixture(scope="module")
def subject(folder):
    config, params = read_model(folder)
    return Subject(params, config)


@pytest.fixture(scope="module")
def texts(tokenizer):
    """What is asked in English, where the other language is French."""
    english, french = (registry.LANGUAGES[name] for name in ("en", "fr"))
    pairs = [pair.split() for pair in PAIRS.split(",")]
    lines = (SAMPLES / "en.txt").read_text().splitlines()
    documents = [Document(f"pud/{n}.txt", line.encode(), len(line.encode())) for n, line in enumerate(lines)]
    return TaskTexts(
        language=english,
        other=french,
        pairs=tuple((identifier(f"word {there}"), identifier(f"word {here}")) for here, there in pairs),
        documents=lambda: documents,
        translations=None,
        tokenizer=tokenizer,
        longest=128,
    )


def plain_nats(task, tokenizer, folder, theirs) -> np.ndarray:
    """[Q, C] minus the log-probability of what is scored, the candidates of a question at a time, by transformers alone."""
    import torch
    import transformers

    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    nats_QxC = np.zeros(task.tokens_QxCxT1.shape[:2])
    for q, scored_CxT in enumerate(task.scored_QxCxT):
        places_C = [np.flatnonzero(scored_T) + 1 for scored_T in scored_CxT]
        rows_C = [row[: places[-1] + 1] for row, places in zip(task.tokens_QxCxT1[q], places_C, strict=True)]
        ids_C = [their_tokenizer(tokenizer.decode(row), add_special_tokens=False)["input_ids"] for row in rows_C]
        assert [list(map(int, row)) for row in rows_C] == ids_C, "their tokens are ours"
        longest = max(map(len, ids_C))
        padded_CxT = torch.tensor([ids + [0] * (longest - len(ids)) for ids in ids_C])  # what follows changes nothing
        with torch.no_grad():
            log_prob_CxTxV = torch.log_softmax(theirs(padded_CxT, use_cache=False).logits.double(), -1)
        for c, places in enumerate(places_C):
            nats_QxC[q, c] = -log_prob_CxTxV[c, places - 1].gather(-1, padded_CxT[c, places][:, None]).sum()
    return nats_QxC


@pytest.mark.parametrize("name", ["word", "cloze"])
def test_answers_are_as_probable_as_transformers_says(name, texts, subject, folder, theirs):
    ask, given = {"word": (word_tasks.ask_word, 28), "cloze": (word_tasks.ask_cloze, len(texts.pairs))}[name]
    task = ask(dataclasses.replace(texts, pairs=texts.pairs[:given]))
    plain_QxC = plain_nats(task, texts.tokenizer, folder, theirs)
    with jax.default_matmul_precision("highest"):
        found = task_scores.choose(subject, {name: task})[name]
    answers_QxC = plain_QxC[:, :4]
    np.testing.assert_allclose(found.nats_QxC, answers_QxC, atol=1e-3)
    right_Q = answers_QxC[:, 0] < answers_QxC[:, 1:].min(1)
    assert abs(found.right_Q.mean() - right_Q.mean()) < 1e-3
    bits = [of.sum() / np.log(2) / task.bytes_Q.sum() for of in (found.nats_QxC[:, 0], answers_QxC[:, 0])]
    assert abs(bits[0] - bits[1]) < 1e-3
    said = f"{name}: {right_Q.mean():.1%} of {len(right_Q)} right (chance 25 %), {bits[0]:.3f} bits per byte"
    if task.aside:
        copied_Q = plain_QxC[:, 4] < answers_QxC.min(1)
        assert abs(found.apart_Q.mean() - copied_Q.mean()) < 1e-3
        said += f", {copied_Q.mean():.1%} copied"
    print(said)
    assert right_Q.mean() > 0.4, "it knows these words"


def test_sentences_are_found_as_often_as_by_plain_transformers(texts, subject, folder, theirs):
    import torch

    lines = {name: (SAMPLES / f"{name}.txt").read_text().splitlines()[:SENTENCES] for name in ("en", "fr")}
    task = sentences.parallel(lines, "en", "fr", texts.tokenizer, 128)
    states = {}
    for name in lines:
        of_sentences = []
        for row, length in zip(task.tokens_NxT[name], task.length_N[name], strict=True):
            with torch.no_grad():
                stream = _behind_blocks(theirs, torch.from_numpy(row[None, :length].astype(np.int64)))
            weight_T = torch.arange(1, int(length) + 1).double()
            of_sentences.append([(h_TxD.double() * weight_T[:, None]).sum(0) / weight_T.sum() for h_TxD in stream])
        states[name] = of_sentences
    with jax.default_matmul_precision("highest"):
        ours = sentence_scores.sentence_states(subject, task)
        rows = sentence_scores.sentence_rows(subject, task, "task_retrieval")
    by_layer = {row["layer"]: row["value"] for row in rows if "layer" in row}
    for layer in range(subject.model.layers):
        en, fr = (np.stack([one[layer].numpy() for one in states[name]]) for name in ("en", "fr"))
        np.testing.assert_allclose(ours["en"][layer], en, rtol=1e-3, atol=1e-3 * np.abs(en).max())
        cosine_NxN = (en / np.linalg.norm(en, axis=1)[:, None]) @ (fr / np.linalg.norm(fr, axis=1)[:, None]).T
        hits = [
            all(
                cosine_NxN[n, n] > max(cosine_NxN[n, other], cosine_NxN[other, n])
                for other in range(SENTENCES)
                if other != n
            )
            for n in range(SENTENCES)
        ]
        assert abs(by_layer[layer + 1] - np.mean(hits)) < 1e-3, layer
    best = max(by_layer, key=by_layer.get)
    print(f"retrieval en-fr of {SENTENCES}: mean {by_layer[-1]:.1%}, best {by_layer[best]:.1%} in layer {best}")
    assert by_layer[best] > 2 / SENTENCES, "twice as often as by chance"


def _behind_blocks(model, ids) -> list:
    """The stream [T, D] behind each block, before any norm."""
    kept = []
    hooks = [
        block.register_forward_hook(
            lambda _, inputs, output: kept.append((output[0] if isinstance(output, tuple) else output)[0])
        )
        for block in model.model.layers
    ]
    model(ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    return kept
