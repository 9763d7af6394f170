"""Imported runs: several checkpoints of one model, the tokenizer that came with it, and what is refused."""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path

import pytest
from helpers import SMALL, by_path, byte_level, hub_server, loud, make_run, python, same, small_material, train
from helpers.hub_models import hub_here  # noqa: F401

from babel_jax.__main__ import main
from babel_jax.common.errors import UserError
from babel_jax.model import tokenizer_files
from babel_jax.model.model_folders import read_model, write_model
from babel_jax.model.tokenizer_files import JSON, TokenizerFiles
from babel_jax.training import foreign
from babel_jax.training.checkpoint import Checkpoints
from babel_jax.training.runs import read_done

CONFIG = dataclasses.replace(SMALL, vocab_size=300)
TEXT = ["def f(x):\n    return x + 1\n", "<?php echo 1; ?>"]


def tokenizer(size=280):
    contents = {
        JSON: byte_level(TEXT, size).to_str().encode(),
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
        "generation_config.json": b'{"eos_token_id": 0, "temperature": 0.7}',
    }
    return TokenizerFiles(contents, {"eos_token_id": 0})


def folder(place, seed=0, config=CONFIG, files=None):
    write_model(place, config, loud(config, seed), files or tokenizer())
    return place


def steps(run):
    checkpoints = Checkpoints(run)
    try:
        return {step: checkpoints.metadata(step).tokens for step in checkpoints.steps()}
    finally:
        checkpoints.close()


def test_a_model_goes_through_a_run_with_all_its_files(tmp_path):
    foreign.import_run(folder(tmp_path / "a"), tmp_path / "run")
    foreign.export_run(tmp_path / "run", 0, tmp_path / "b")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {JSON, "generation_config.json", "config.json"} < set(files)
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_checkpoints_of_one_model_are_one_run(tmp_path):
    run = tmp_path / "run"
    for step, seed in ((1000, 1), (3000, 3), (2000, 2)):
        foreign.import_run(folder(tmp_path / str(step), seed), run, step, step * 512)
    assert steps(run) == {1000: 512_000, 2000: 1_024_000, 3000: 1_536_000}
    assert (read_done(run).step, read_done(run).tokens) == (3000, 1_536_000)
    foreign.export_run(run, 2000, tmp_path / "out")
    assert same(by_path(read_model(tmp_path / "out")[1]), by_path(loud(CONFIG, 2)))


def test_what_is_of_another_model_is_refused_and_the_run_stays(tmp_path):
    run = tmp_path / "run"
    foreign.import_run(folder(tmp_path / "a"), run, 1)
    wider = dataclasses.replace(CONFIG, ffn_width=64)
    for place, message in (
        (folder(tmp_path / "wide", config=wider), "is of another model: ffn_width is 32 there and 64 here"),
        (folder(tmp_path / "words", files=tokenizer(290)), "has another tokenizer.json than this model"),
    ):
        with pytest.raises(UserError, match=message):
            foreign.import_run(place, run, 2)
    with pytest.raises(UserError, match="holds a run already, with a checkpoint 1"):
        foreign.import_run(tmp_path / "a", run, 1)
    assert list(steps(run)) == [1] and read_done(run).step == 1


def test_a_run_that_was_trained_takes_no_other_models(tmp_path):
    train(make_run(steps=2), small_material(), tmp_path / "run")
    with pytest.raises(UserError, match="holds a run already"):
        foreign.import_run(folder(tmp_path / "a"), tmp_path / "run", 7)
    assert foreign.kept_tokenizer(tmp_path / "run") is None


def test_a_tokenizer_with_more_ids_than_rows_is_refused(tmp_path):
    folder(tmp_path / "a")
    tokenizer_files.write(tmp_path / "a", {JSON: byte_level(TEXT * 9 + ["x y z w v u t s r q"], 300).to_str().encode()})
    added = json.loads((tmp_path / "a" / JSON).read_text())
    added["model"]["vocab"]["zz"] = 300
    (tmp_path / "a" / JSON).write_text(json.dumps(added))
    with pytest.raises(UserError, match="ids up to 300 and the model's table has 300 rows"):
        foreign.import_run(tmp_path / "a", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.processes
def test_on_several_devices_the_same_bytes_come_out(tmp_path):
    """A process that sees three devices spreads over two: the model's width of 16 is not divisible by three."""
    folder(tmp_path / "a")
    done = python(__file__, str(tmp_path), devices=3)
    assert done.returncode == 0 and done.stdout.split()[-1] == "2", done.stderr
    for place in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / place.name).read_bytes() == place.read_bytes(), place.name


# --- transformers' own folders ------------------------------------------------------------------------------------------------

SIZES = dict(
    vocab_size=300,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=32,
)
FAMILIES = {
    "llama": dict(num_key_value_heads=2, head_dim=6, rope_theta=1e5, tie_word_embeddings=False),
    "gpt_neox": dict(rotary_pct=0.7, use_parallel_residual=True),
    "qwen3": dict(num_key_value_heads=1, head_dim=8, tie_word_embeddings=True),
    "gpt2": dict(n_positions=32, n_embd=24, n_layer=2, n_head=4),
}


@pytest.mark.oracle
@pytest.mark.parametrize("how", ["float32", "parts", "bfloat16", "bin"])
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_computes_the_same_before_and_after(family, how, tmp_path):
    """Import, run, export, and AutoModelForCausalLM and AutoTokenizer of both folders: not a bit of the logits differs."""
    torch = pytest.importorskip("torch", reason="no torch here to compare with")
    transformers = pytest.importorskip("transformers", reason="no transformers here to compare with")
    sizes = dict(vocab_size=300) if family == "gpt2" else SIZES
    tokens = dict(bos_token_id=None, eos_token_id=0, pad_token_id=None)
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(family, **sizes | FAMILIES[family] | tokens)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model = model.to(torch.bfloat16 if how == "bfloat16" else torch.float32)
    for values in model.parameters():
        values.data.mul_(5)
    before, run, after = tmp_path / "before", tmp_path / "run", tmp_path / "after"
    model.save_pretrained(before, max_shard_size="20KB" if how == "parts" else "1GB")
    if how == "bin":
        (before / "model.safetensors").unlink()
        torch.save(model.state_dict(), before / "pytorch_model.bin")
    tokenizer_files.write(before, {JSON: byte_level(TEXT, 280).to_str().encode()})
    foreign.import_run(before, run)
    foreign.export_run(run, 0, after)

    inputs = transformers.AutoTokenizer.from_pretrained(before)(TEXT[0])["input_ids"]
    assert transformers.AutoTokenizer.from_pretrained(after)(TEXT[0])["input_ids"] == inputs
    read = [
        transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
        for place in (before, after)
    ]
    assert read[1].generation_config.eos_token_id == read[1].config.eos_token_id == 0
    logits = [each(torch.tensor([inputs])).logits for each in read]
    assert torch.equal(*logits) and logits[0].std() > 0.1
    foreign.import_run(after, tmp_path / "again")
    foreign.export_run(tmp_path / "again", 0, tmp_path / "back")
    for place in after.iterdir():
        assert (tmp_path / "back" / place.name).read_bytes() == place.read_bytes(), place.name


if __name__ == "__main__":
    place = Path(sys.argv[1])
    foreign.import_run(place / "a", place / "run")
    foreign.export_run(place / "run", 0, place / "b")
    print(foreign.mesh_of(CONFIG).size)


def test_a_model_of_the_hub_is_imported_by_its_name(hub_here, tmp_path):  # noqa: F811
    for step in (1000, 2000):
        held = {place.name: place.read_bytes() for place in folder(tmp_path / str(step), step).iterdir()}
        hub_here.repositories.setdefault("org/tiny", hub_server.Repository({})).revisions[f"step{step}"] = held
    for step in (1000, 2000):
        how = [
            f"--huggingface=org/tiny@step{step}",
            f"--run={tmp_path / 'run'}",
            f"--step={step}",
            f"--tokens={512 * step}",
        ]
        assert main(["convert", "import", *how]) == 0
    assert steps(tmp_path / "run") == {1000: 512_000, 2000: 1_024_000}
    foreign.export_run(tmp_path / "run", 2000, tmp_path / "out")
    assert same(by_path(read_model(tmp_path / "out")[1]), by_path(loud(CONFIG, 2000)))
    with pytest.raises(UserError, match="unknown revision 'step3000'; did you mean 'step"):
        foreign.import_run("org/tiny@step3000", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("killed_at", ["config.json", "checkpoint", "DONE"])
def test_an_import_that_was_killed_goes_on(tmp_path, monkeypatch, killed_at):
    run, first, second = tmp_path / "run", folder(tmp_path / "a", 1), folder(tmp_path / "b", 2)
    if killed_at == "DONE":  # while a second checkpoint is added
        foreign.import_run(first, run, 1000)

    def killed(*_):
        raise Killed

    class Killed(BaseException):
        """What a process does no more after SIGKILL is to clean up."""

    monkeypatch.setattr(foreign, "_or_nothing", lambda place: contextlib.nullcontext())
    place = {"config.json": (Checkpoints, "save"), "checkpoint": (Checkpoints, "close"), "DONE": (foreign, "read_done")}
    with monkeypatch.context() as dying, pytest.raises(Killed):
        where, name = place[killed_at]
        saved = Checkpoints.close
        dying.setattr(where, name, killed if name != "close" else lambda self: (saved(self), killed()))
        foreign.import_run(second if killed_at == "DONE" else first, run, 2000)
    assert not (run / "DONE").exists() or read_done(run).step == 1000
    foreign.import_run(second, run, 2000, 7)
    assert steps(run)[2000] == 7 and read_done(run).step == 2000
    foreign.export_run(run, 2000, tmp_path / "out")
    assert same(by_path(read_model(tmp_path / "out")[1]), by_path(loud(CONFIG, 2)))
