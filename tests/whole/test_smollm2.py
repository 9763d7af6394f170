"""A real pretrained model through everything that is done with one: SmolLM2-135M-Instruct, as a package of the registry ships it.

The package holds it in GGUF's four bits (93 MB); transformers makes the folder in float32 out of it that is imported here.
Nothing of it is kept. Skipped, with the reason, where torch and transformers are not installed or the package cannot be had.
Letters as in babel_jax/model/decoder.py.
"""

import tempfile
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from golden.make_families import Watch
from helpers import smollm2
from tokenizers import Tokenizer

from babel_jax.measuring import greedy
from babel_jax.model.model_folders import read_model
from babel_jax.probes import forward, lape
from babel_jax.probes.subject import Subject
from babel_jax.training import foreign

pytestmark = [pytest.mark.oracle, pytest.mark.processes, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
ROWS, LENGTH = 2, 192  # of each language
POSITIONS = np.array([5, 60, LENGTH - 1])
NEAR_ZERO = 1e-5
START = 0  # the token that its texts began with
PROMPTS = ("def fibonacci(n):\n    ", "The capital of France is")
WRITTEN = 40


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory(prefix="smollm2_") as place:
        yield Path(place)


@pytest.fixture(scope="module")
def folder(place):
    """The model as transformers writes it."""
    return smollm2.unpacked(place)


@pytest.fixture(scope="module")
def texts(folder):
    """language -> `tokens_BxT1` of text, and its `bytes` behind the first token: this project's own READMEs and code."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pages = [ROOT / "README.md", *sorted((ROOT / "babel_jax").glob("*/README.md"))]
    prose = [line for page in pages for line in page.read_text().splitlines() if line[:1].isalpha()]
    found = {}
    for language, text in (
        ("english", "\n".join(prose)),
        ("python", (ROOT / "babel_jax/model/decoder.py").read_text()),
    ):
        ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids[: ROWS * LENGTH]).reshape(ROWS, LENGTH)
        begun = np.concatenate([np.full((ROWS, 1), START), ids], axis=1).astype(np.int32)
        found[language] = types.SimpleNamespace(tokens_BxT1=begun, bytes=len(tokenizer.decode(ids.flatten()).encode()))
    return found


@pytest.fixture(scope="module")
def prompts(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [np.array(tokenizer.encode(prompt, add_special_tokens=False).ids, np.int32) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def theirs(folder, texts, prompts):
    """What transformers finds: `written` after each prompt; of all texts `loss_BxT`, `gate_LxBxTxF`, `log_prob_LxBxPxV`."""
    import torch
    import transformers

    model = smollm2.by_transformers(folder)
    how = dict(max_new_tokens=WRITTEN, do_sample=False, eos_token_id=None, pad_token_id=START)
    rows_BxT1 = torch.from_numpy(np.concatenate([text.tokens_BxT1 for text in texts.values()]).astype(np.int64))
    with torch.no_grad():
        written = [
            model.generate(torch.from_numpy(ids[None].astype(np.int64)), **how)[0, len(ids) :] for ids in prompts
        ]
        watch = Watch(model)
        logits_BxTxV = model(rows_BxT1[:, :-1], use_cache=False).logits
        log_prob_BxTxV = torch.log_softmax(logits_BxTxV.double(), -1)
        loss_B = -log_prob_BxTxV.gather(-1, rows_BxT1[:, 1:, None]).sum((1, 2))
        h_LxBxPxD = torch.from_numpy(watch.layers("after")[:, :, POSITIONS])
        log_prob_LxBxPxV = torch.log_softmax(model.lm_head(model.model.norm(h_LxBxPxD)), -1)
    return types.SimpleNamespace(
        written=[ids.numpy() for ids in written],
        loss_B=loss_B.numpy(),
        gate_LxBxTxF=watch.layers("gate"),
        log_prob_LxBxPxV=log_prob_LxBxPxV.numpy(),
        logits_BxTxV=logits_BxTxV.numpy(),
        version=transformers.__version__,
    )


@pytest.fixture(scope="module")
def model(folder):
    """(config, parameters), as they are imported."""
    return read_model(folder)


@pytest.fixture(scope="module")
def found(model, texts):
    """What the pass of all probes finds in the texts."""
    config, params = model
    heldout = {
        language: {"tokens": text.tokens_BxT1}
        | dict.fromkeys(("loss", "knowledge"), np.ones((ROWS, LENGTH), np.float32))
        for language, text in texts.items()
    }
    slots = {
        language: {
            "tokens": text.tokens_BxT1[:, :-1],
            "position": np.tile(POSITIONS, (ROWS, 1)),
            "candidates": text.tokens_BxT1[:, 1 + POSITIONS][:, :, None],
        }
        for language, text in texts.items()
    }
    with jax.default_matmul_precision("highest"):
        return forward.measure(Subject(params, config, batch_size=ROWS), heldout, slots)


def test_bits_per_byte(found, theirs, texts):
    for index, (language, text) in enumerate(texts.items()):
        rows = slice(index * ROWS, (index + 1) * ROWS)
        ours, reference = (
            float(sums.sum() / np.log(2) / text.bytes) for sums in (found.rows[language].loss_sum, theirs.loss_B[rows])
        )
        print(f"{language}: {ours:.6f} bits per byte, {reference:.6f} by transformers {theirs.version}")
        assert ours == pytest.approx(reference, rel=1e-5)
        assert 0.5 < ours < 2.5  # it has learned both


def test_lape_counts_and_what_they_select(found, theirs, texts):
    for index, language in enumerate(texts):
        gate_LxBxTxF = theirs.gate_LxBxTxF[:, index * ROWS : (index + 1) * ROWS]
        near_zero_LxF = (np.abs(gate_LxBxTxF) < NEAR_ZERO).sum((1, 2))
        active_LxF = found.active_RxLxFxK.sum(0)[..., found.languages.index(language)]
        off_LxF = np.abs(active_LxF - (gate_LxBxTxF > 0).sum((1, 2)))
        print(f"{language}: counts differ by {off_LxF.sum()} in all, {near_zero_LxF.sum()} gates are near zero")
        assert (off_LxF <= near_zero_LxF).all()
    selected = lape.lape(found.active_RxLxFxK.sum(0), found.tokens_RxK.sum(0))
    members = (selected.chosen_xLxF & selected.above_KxxLxF).sum((1, 2))
    print(f"language-specific neurons: {dict(zip(found.languages, members.tolist(), strict=True))}")
    assert (members > 50).all()


def test_the_lens_of_every_layer(found, theirs, texts):
    for index, (language, text) in enumerate(texts.items()):
        rows, read = slice(index * ROWS, (index + 1) * ROWS), found.slots[language]
        log_prob_LxBxPxV = theirs.log_prob_LxBxPxV[:, rows]
        top_LxBxPx2 = np.sort(log_prob_LxBxPxV, axis=-1)[..., -2:]
        sure_LxBxP = top_LxBxPx2[..., 1] - top_LxBxPx2[..., 0] > 1e-3
        assert (read["argmax_LxNxP"] == log_prob_LxBxPxV.argmax(-1))[sure_LxBxP].all() and sure_LxBxP.mean() > 0.9
        next_BxP = text.tokens_BxT1[:, 1 + POSITIONS]
        expected_LxBxP = np.take_along_axis(log_prob_LxBxPxV, next_BxP[None, :, :, None], axis=-1)[..., 0]
        np.testing.assert_allclose(read["log_prob_LxNxPxC"][..., 0], expected_LxBxP, atol=1e-3)


def test_greedy_text(model, theirs, prompts):
    config, params = model
    rows = np.zeros((len(prompts), max(map(len, prompts))), np.int32)
    for row, ids in zip(rows, prompts, strict=True):
        row[: len(ids)] = ids
    with jax.default_matmul_precision("highest"):
        ours = greedy.generate(Subject(params, config, batch_size=len(rows)), rows, list(map(len, prompts)), WRITTEN)
    for mine, reference in zip(ours, theirs.written, strict=True):
        assert mine.tolist() == reference.tolist()


def test_import_and_export_change_no_bit(place, folder, theirs, texts):
    import torch
    import transformers

    foreign.import_run(folder, place / "run")
    foreign.export_run(place / "run", 0, place / "back")
    rows_BxT = np.concatenate([text.tokens_BxT1[:, :-1] for text in texts.values()]).astype(np.int64)
    with torch.no_grad():
        logits_BxTxV = smollm2.by_transformers(place / "back")(
            torch.from_numpy(rows_BxT), use_cache=False
        ).logits.numpy()
    assert np.array_equal(logits_BxTxV, theirs.logits_BxTxV)
    text = (ROOT / "README.md").read_text()
    before, after = (
        transformers.AutoTokenizer.from_pretrained(place)(text)["input_ids"] for place in (folder, place / "back")
    )
    assert before == after
