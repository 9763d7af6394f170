"""Models in a notebook. The example's cells and README's snippets run as they stand, in a folder that holds what they name."""

import contextlib
import dataclasses
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib
import numpy as np
import pandas as pd
import pytest
from helpers import ROOT, loud
from helpers.decoders import small
from helpers.loose_files import vocabulary, write
from helpers.recipes import created
from helpers.small_study import CONFIG

import babel_jax
from babel_jax.__main__ import main
from babel_jax.common.errors import UserError
from babel_jax.model.model_folders import write_model
from babel_jax.model.tokenizer_files import JSON, TokenizerFiles
from babel_jax.probes import edits
from babel_jax.probes.interventions import loss

RUN = "runs/tiny/seed0/continual"
PUBLIC = "HuggingFaceTB/SmolLM2-135M"  # a folder of this name comes before the hub
EXAMPLE = f"{ROOT}/configs/examples/notebook.py"
TEXTS = {"python": "my_python", "php": "my_php"}
PROMPTS = [
    {"language": language, "text": f"{before} {number} = ", "primary": "len", "new": "str", "pair": "length"}
    for language, before in (("python", "x"), ("php", "$x"))
    for number in range(3)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny run, a tiny Llama as the hub has it, and texts for it."""
    place = tmp_path_factory.mktemp("notebook")
    (place / "small.py").write_text(CONFIG)
    with contextlib.chdir(place):
        for run in ("primary_only", "continual"):
            assert main(["train", "--config=small.py", "--workdir=runs/tiny", f"--run={run}", "--seed=0"]) == 0
        config = small("llama", vocab_size=512, max_length=256)
        tokenizer = TokenizerFiles({JSON: vocabulary().to_str().encode()}, {"eos_token_id": 0})
        write_model(PUBLIC, config, loud(config, scale=0.1), tokenizer)
        for folder in write(place / "texts").values():
            folder.rename(place / {"py": "my_python", "php": "my_php"}[folder.name])
    return place


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    monkeypatch.chdir(place)


@pytest.fixture(scope="module")
def model(place):
    return babel_jax.load(place / RUN)


@pytest.fixture(scope="module")
def result(model):
    return babel_jax.probe(model)


@pytest.fixture(scope="module")
def public(place):
    with contextlib.chdir(place):
        return babel_jax.load(PUBLIC)


# --- as they stand -----------------------------------------------------------------------------------------------------------


def test_the_example_runs_cell_by_cell():
    cells = runpy.run_path(EXAMPLE)
    assert len(re.findall(r"(?m)^# %%", Path(EXAMPLE).read_text())) >= 10
    assert cells["result"].losses["value"].notna().all() and isinstance(cells["public"].generate("x = "), str)
    assert set(cells["read"].material.slots) == {"python", "php"}


def snippets():
    texts = (Path(ROOT, name).read_text() for name in ("README.md", "babel_jax/probes/README.md"))
    return [snippet for text in texts for snippet in re.findall(r"(?ms)^```python\n(import babel_jax\n.*?)^```$", text)]


def test_snippets_of_the_readmes_run():
    assert len(snippets()) == 2
    for snippet in snippets():
        exec(compile(snippet, "README.md", "exec"), {})


def test_the_package_is_imported_without_jax_and_lists_what_it_offers():
    code = (
        "import sys, babel_jax; assert not {'jax', 'numpy', 'pandas'} & {*sys.modules}; print(*dir(babel_jax)); "
        "print(babel_jax.load.__name__); babel_jax.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    names, load, *_ = done.stdout.splitlines()
    assert {"ablate", "load", "neurons", "patch", "probe", "steps", "LoadedModel"} <= {
        *names.split()
    } and load == "load"
    assert done.stderr.endswith("AttributeError: module 'babel_jax' has no attribute 'nothing'\n")


# --- loading ------------------------------------------------------------------------------------------------------------------


def test_a_run_is_loaded_at_any_step(model):
    steps = babel_jax.steps(RUN)
    assert steps == [0, 4, 8, 16, 24] and model.step == 24 and "4 layers of width 64" in repr(model)
    assert babel_jax.load(RUN, step=8).step == 8 and model.tokenizer is None
    with pytest.raises(UserError, match="no checkpoint 7"):
        babel_jax.load(RUN, step=7)
    with pytest.raises(UserError, match="has no tokenizer; give token ids"):
        model.tokens("x")


def test_a_folder_and_an_imported_run_are_the_same_model(public):
    assert main(["convert", "import", f"--huggingface={PUBLIC}", "--run=runs/imported"]) == 0
    run = babel_jax.load("runs/imported")
    text = "size = len(name)\n"
    np.testing.assert_array_equal(run.tokens(text), public.tokens(text))
    np.testing.assert_array_equal(run.logits(text), public.logits(text))
    assert public.logits(text).shape == (1, len(public.tokens(text)), 512)
    assert public.generate(text, 8) == run.generate([text], 8)[0]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("nowhere/of/all",), "neither a run, nor a folder with a model"),
        ((PUBLIC, 3), "is not a run, so it has no step 3"),
        (("my_python",), "no config.json"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(arguments, says):
    with pytest.raises(UserError, match=says):
        babel_jax.load(*arguments)


# --- reading ------------------------------------------------------------------------------------------------------------------


def test_a_result_is_what_the_verb_measures(result):
    """The same rows as `probe` writes: one checkpoint by both ways."""
    assert main(["probe", f"--checkpoints={RUN}", "--out=runs/probes", "--steps=last"]) == 0
    tables = [
        pd.read_parquet(path) for path in sorted(Path("runs/probes").glob("*/continual/measurements/step_*.parquet"))
    ]
    columns = ["probe", "language", "layer", "metric", "options", "value", "n", "ci_low", "ci_high"]
    theirs = pd.concat(tables)[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(result.table[columns].iloc[: len(theirs)], theirs)
    counted = result.neurons[result.neurons["layer"] == -1].set_index("metric")["value"]
    assert counted["lape_target"] == len(babel_jax.neurons(result, "lape_target", "php"))
    assert "probe of continual" in repr(result)


def test_a_figure_shows_what_was_measured(result):
    figure = result.plot()
    assert isinstance(figure, matplotlib.figure.Figure) and figure._repr_png_().startswith(b"\x89PNG")
    shares, neurons, losses = figure.axes
    curve = result.working_language.query("layer > 0 and metric == 'primary_share_pair' and subset == 'all'")
    drawn = np.concatenate([line.get_ydata() for line in shares.lines])
    assert set(curve["value"]) <= set(drawn) and neurons.get_ylabel() == "neurons"
    assert [bar.get_height() for bar in losses.patches] == pytest.approx(
        result.losses.query("metric == 'loss'").set_index("language")["value"][["python", "php"]].tolist()
    )


def test_texts_of_ones_own_and_prompts(public):
    read = babel_jax.probe(public, TEXTS, rows=8, row_tokens=64, definitions=("pls",))
    assert len(read.material.heldout["php"]["tokens"]) == 8 and read.material.max_length == 64
    assert set(read.losses["metric"]) >= {"loss", "bits_per_byte"} and "pls" in set(read.neurons["metric"])
    table = public.losses(read)
    by_hand = read.losses.query("metric == 'bits_per_byte'").set_index("language")["value"]
    np.testing.assert_allclose(table["bits_per_byte"][by_hand.index], by_hand, rtol=1e-5)
    pd.testing.assert_frame_equal(public.losses(TEXTS, rows=8, row_tokens=64), table)

    alone = babel_jax.probe(public, prompts=PROMPTS, languages=("python", "php"))
    assert len(alone.working_language) and alone.neurons.empty and alone.losses.empty
    Path("prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in PROMPTS))
    of_file = babel_jax.probe(public, prompts="prompts.jsonl", languages=("python", "php"))
    pd.testing.assert_frame_equal(of_file.table, alone.table)
    assert len(alone.plot().axes) == 1
    both = babel_jax.probe(public, TEXTS, PROMPTS, rows=8, row_tokens=64)
    assert len(both.material.slots["php"]["position"]) == 3
    assert (
        both.measured.tokens_RxK.sum() == read.measured.tokens_RxK.sum()
    )  # rows of other files: none is kept for prompts


@pytest.mark.parametrize(
    "how, says",
    [
        (dict(), "say what HuggingFaceTB/SmolLM2-135M is to read"),
        (dict(prompts=PROMPTS), "name them, the primary first"),
        (dict(texts=TEXTS, row=8), "unknown setting 'row'; did you mean 'rows'"),
        (dict(rows=8, prompts=PROMPTS, languages=("python", "php")), "rows say how texts are read, and none are given"),
        (dict(texts=TEXTS, interventions=("one",)), "unknown intervention 'one'"),
        (dict(prompts=[{"language": "php"}], languages=("python", "php")), "the prompts, line 1"),
        (dict(prompts=["x"], languages=("python", "php")), "the prompts, line 1: not a dict"),
    ],
)
def test_what_cannot_be_probed_is_said_in_one_line(public, how, says):
    with pytest.raises(UserError, match=says):
        babel_jax.probe(public, **how)


def test_a_model_of_ones_own_is_probed_and_changed():
    """The README's Llama in plain JAX, with weights of its own, over the rows and prompts of a run."""
    Llama = created("To add a model of your own", "my_llama.py").Llama
    random, (L, D, F, V, T) = np.random.default_rng(0), (2, 16, 32, 512, 64)
    block = dict(norm_1=(D,), norm_2=(D,), gate=(D, F), up=(D, F), down=(F, D), o=(2, 8, D)) | dict.fromkeys(
        "qkv", (D, 2, 8)
    )
    tree = {
        "embed": (V, D),
        "norm": (D,),
        "head": (V, D),
        "blocks": {name: (L, *shape) for name, shape in block.items()},
    }
    params = jax.tree.map(
        lambda shape: random.normal(0, 0.5, shape).astype(np.float32), tree, is_leaf=lambda x: type(x) is tuple
    )
    shapes = dict(layers=L, width=D, ffn_width=F, vocab_size=V, max_length=T)
    mine = babel_jax.LoadedModel(Llama(**shapes), params, babel_jax.load(PUBLIC).tokenizer, "mine")
    read = babel_jax.probe(
        mine, TEXTS, rows=8, definitions=("pls", "causal", "centroid_type2"), interventions=("zero",)
    )
    assert {"lape_target", "pls", "causal", "centroid_type2"} <= set(read.neurons["metric"]) and len(read.causes)
    assert read.plot().axes and read.working_language["value"].notna().any()
    without = babel_jax.ablate(mine, [(0, 1), (1, 2)])
    assert (without.losses(read)["loss"] != mine.losses(read)["loss"]).all() and isinstance(
        without.generate("x = ", 4), str
    )


def test_texts_of_another_model_are_refused(public, result, model):
    with pytest.raises(UserError, match="give it texts of its own"):
        babel_jax.probe(public, texts=result)
    with pytest.raises(UserError, match="has no tokenizer, so it reads no texts"):
        babel_jax.probe(model, texts=TEXTS)


# --- neurons and changes ------------------------------------------------------------------------------------------------------


def test_neurons_are_listed_and_ablated(model, result):
    found = babel_jax.neurons(result)
    assert list(found) == ["language", "layer", "neuron", "entropy", "active_php", "active_python"]
    php = babel_jax.neurons(result, language="php")
    pd.testing.assert_frame_equal(php, found[found["language"] == "php"].reset_index(drop=True))
    without = babel_jax.ablate(model, php)
    pairs = list(zip(php["layer"], php["neuron"], strict=True))
    tokens = result.material.heldout["php"]["tokens"]
    weight = result.material.heldout["php"]["loss"]
    want = loss(model.subject(), tokens, edits.edit("zero", edits.neuron_set(model.model, pairs)), weight)
    assert without.losses(result)["loss"]["php"] == pytest.approx(want, rel=1e-6)
    assert without.losses(result)["loss"]["php"] != model.losses(result)["loss"]["php"]
    for neurons in (pairs, edits.neuron_set(model.model, pairs)):
        pd.testing.assert_frame_equal(babel_jax.ablate(model, neurons).losses(result), without.losses(result))
    assert "without" in without.name and without.generate(tokens[0, :4], 3).shape == (3,)
    mean = babel_jax.ablate(model, php, "mean", result).losses(result)["loss"]
    assert mean["php"] != without.losses(result)["loss"]["php"]
    with pytest.raises(UserError, match="unknown definition of neurons by counts 'lape'"):
        babel_jax.neurons(result, "lape")
    with pytest.raises(UserError, match="unknown measured language 'pyhton'; did you mean 'python'"):
        babel_jax.neurons(result, language="pyhton")


def test_parts_of_another_checkpoint_take_their_place(model, result):
    early = babel_jax.load(RUN, step=0)
    whole = babel_jax.patch(model, early, ["blocks", "embed_", "ln_f", "head"])
    pd.testing.assert_frame_equal(whole.losses(result), early.losses(result))
    part = babel_jax.patch(model, early, "blocks/ffn_").losses(result)["loss"]["php"]
    assert part not in (early.losses(result)["loss"]["php"], model.losses(result)["loss"]["php"])
    with pytest.raises(UserError, match="patch a model before its neurons are changed"):
        babel_jax.patch(babel_jax.ablate(model, [(0, 1)]), early, "blocks")


def test_generation_is_of_text_and_of_ids(public, model):
    one, two = public.generate(["x = ", "size_1 = len("], new_tokens=6)
    assert isinstance(one, str) and (one, two) == (public.generate("x = ", 6), public.generate("size_1 = len(", 6))
    ids = public.tokens("x = ")
    assert public.tokenizer.decode(public.generate(ids, 6).tolist()) == one
    whole = public.generate(ids, 6)
    other = whole[-1]  # what would be this token becomes the end of the document
    head_VxD = public.params["head"].at[0].set(public.params["head"][other]).at[other].set(public.params["head"][0])
    ending = dataclasses.replace(public, params=public.params | {"head": head_VxD})
    np.testing.assert_array_equal(ending.generate(ids, 6), whole[: np.argmax(whole == other)])
    assert [part.dtype for part in model.generate([np.array([1, 2]), np.array([3])], 2)] == [np.int32] * 2
