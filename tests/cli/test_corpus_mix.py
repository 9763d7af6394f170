from types import SimpleNamespace

import numpy as np
import pytest
from helpers import make_run, run_in
from helpers.commands import refused

from babel_jax.__main__ import main
from babel_jax.common.material import ArrayRows
from babel_jax.corpus import corpus_files, mixture_files
from babel_jax.training.sampler import mixture_of

TOKENS = {"python": 4_000, "php": 1_000, "go": 100}  # in rows of 10 tokens


@pytest.fixture
def corpus(monkeypatch):
    """A corpus of three languages where `corpus mix` looks for one."""
    train = {name: ArrayRows(np.zeros((count // 10, 11), np.int32)) for name, count in TOKENS.items()}
    monkeypatch.setattr(corpus_files, "load", lambda directory: SimpleNamespace(train=train))
    return "C"


def mix(*arguments):
    assert main(["corpus", "mix", "C", *arguments]) == 0


@pytest.mark.parametrize(
    "arguments, weights",
    [
        (["--policy=tokens"], {"python": 40 / 51, "php": 10 / 51, "go": 1 / 51}),
        (["--policy=shares", "--shares=python=3,go=1"], {"python": 0.75, "go": 0.25}),
        (["--policy=temperature", "--temperature=2"], {"python": 0.603095, "php": 0.301547, "go": 0.095358}),
        (["--policy=unimax", "--max_epochs=4"], {"python": 0.4, "php": 0.4, "go": 0.2}),
        (["--policy=shares", "--shares=python=1,php=1,go=2", "--max_epochs=4"], {"python": 0.4, "php": 0.4, "go": 0.2}),
        (["--policy=tokens", "--max_epochs=4"], {"python": 40 / 51, "php": 10 / 51, "go": 1 / 51}),
    ],
)
def test_a_policy_becomes_a_file_with_tokens_and_epochs(corpus, capsys, tmp_path, arguments, weights):
    file = tmp_path / "mixture.json"
    mix(*arguments, "--tokens=2e3", f"--out={file}")
    mixture = mixture_files.read(file)
    (stage,) = mixture.stages
    assert stage["tokens"] == 0 and stage["weights"] == pytest.approx(weights, abs=1e-5) and mixture.tokens == 2000
    printed = capsys.readouterr().out
    for name, weight in weights.items():
        source = mixture.sources[name]
        assert source.available == TOKENS[name] and source.tokens == pytest.approx(2000 * weight, abs=1)
        assert source.epochs == pytest.approx(2000 * weight / TOKENS[name], abs=1e-3)
        line = next(line for line in printed.splitlines() if line.startswith(f"{name} "))
        assert f"{source.tokens / 2000:.2%}" in line and line.endswith(f"{source.epochs:.2f}")
    held = "--max_epochs=4" in arguments and weights["go"] == 0.2
    assert ("go is held at 4 epochs; what it gives up goes to the others" in printed) == held
    assert mixture.made["by"] == "corpus mix" and mixture.made["policy"] in arguments[0]


def test_stages_come_one_after_another_under_one_cap(corpus, capsys, tmp_path):
    first, second = tmp_path / "bulk.json", tmp_path / "both.json"
    mix("--policy=shares", "--shares=python=0.9,go=0.1", "--tokens=3000", f"--out={first}")
    mix("--policy=unimax", "--max_epochs=4", "--tokens=1000", f"--after={first}", f"--out={second}")
    mixture = mixture_files.read(second)
    assert [stage["tokens"] for stage in mixture.stages] == [3000, 0] and mixture.tokens == 4000
    last = mixture.stages[1]["weights"]  # of go, 300 tokens of the 400 of four epochs are used
    assert last == pytest.approx({"python": 0.45, "php": 0.45, "go": 0.1})
    assert mixture.sources["go"].epochs == 4 and mixture.sources["python"].tokens == 2700 + 450
    run = make_run(steps=50, batch_size=8, stages=mixture.stages)
    epochs = mixture_of(run_in(".", run, SimpleNamespace(sources=corpus_files.load("C").train, max_length=10))).epochs(
        400
    )
    assert epochs == pytest.approx({name: source.epochs for name, source in mixture.sources.items()}, abs=0.3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--policy=tokens", "--tokens=1e5", "--max_epochs=4"], "100,000 tokens are more than 20,400"),
        (["--policy=tokens", "--tokens=0"], "--tokens is 0"),
        (["--policy=tokens", "--tokens=many"], "--tokens is 'many'"),
        (["--policy=tokens"], "required: --tokens"),
        (["--policy=token", "--tokens=9"], "invalid choice: 'token'"),
        (["--policy=unimax", "--tokens=9"], "--policy=unimax needs --max_epochs"),
        (["--policy=temperature", "--tokens=9"], "needs one above 0"),
        (["--policy=temperature", "--tokens=9", "--temperature=0"], "--temperature is 0; give a number above 0"),
        (["--policy=tokens", "--tokens=9", "--temperature=2"], "--temperature goes with --policy=temperature"),
        (["--policy=shares", "--tokens=9"], "--shares goes with --policy=shares"),
        (["--policy=shares", "--tokens=9", "--shares=pyton=1"], "did you mean 'python'"),
        (["--policy=shares", "--tokens=9", "--shares=python"], "write NAME=WEIGHT"),
        (["--policy=shares", "--tokens=9", "--shares=python=0"], "positive sum"),
        (["--policy=tokens", "--tokens=9", "--after=absent.json"], "cannot read absent.json"),
        (["--policy=tokens", "--tokens=9", "--max_epochs=inf", "--out=m.json"], "--max_epochs is inf"),
        (["--policy=tokens", "--tokens=9", "--max_epochs=nan"], "--max_epochs is nan"),
        (["--policy=tokens", "--tokens=9", "--max_epochs=-1"], "--max_epochs is -1"),
        (
            ["--policy=temperature", "--tokens=9", "--temperature=inf", "--out=m.json"],
            "--temperature is inf; give at most",
        ),
        (["--policy=shares", "--tokens=9", "--shares=python=1,go=1e-9"], "less than one row in 1,000,000"),
    ],
)
def test_a_mixture_that_cannot_be_is_one_line(corpus, capsys, arguments, message):
    assert message in refused(capsys, "corpus", "mix", "C", *arguments)
