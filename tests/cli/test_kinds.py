"""What an argument takes, and what it says of anything else."""

import os

import pytest
from helpers import ROOT
from helpers.commands import refused

from babel_jax.cli import kinds

TINY = f"--config={ROOT}/configs/organism.py:tiny"
SUITE = ["evaluate", "--suite=own:S", "--out=O"]
PROBE = ["probe", "--checkpoints=R", "--out=O"]
MIX = ["corpus", "mix", "C", "--policy=tokens"]
TABLE = ["optimize", "--csv=F", "--primary=python"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["study", TINY, "--workdir=W", "--jobs=1000000"], "--jobs is 1000000; give at most"),
        (["study", TINY, "--workdir=W", "--jobs=-1"], "--jobs is -1; give a whole number of at least 1"),
        (["study", TINY, "--workdir=W", f"--jobs={'9' * 5000}"], "give at most"),
        (["corpus", "build", "--source=python=S", "--out=C", "--jobs=1000000"], "--jobs is 1000000; give at most"),
        (["corpus", "build", "--source=python=S", "--out=C", "--phase=clean", "--shard=1_0/2/"], "write it as I/N"),
        (
            ["train", TINY, "--workdir=W", "--run=continual", "--seed=-1"],
            "--seed is -1; give a whole number of at least 0",
        ),
        (["train", TINY, "--workdir=W", "--run=continual", "--seed=4294967296"], "--seed is 4294967296; give at most"),
        (["train", TINY, "--workdir=W", "--run=continual", "--processes=0"], "--processes is 0; give a whole number"),
        ([*SUITE, "--checkpoints=R", "--samples=-1"], "--samples is -1; give a whole number of at least 0"),
        ([*SUITE, "--checkpoints=R", "--samples=1.5"], "--samples is '1.5'; give a whole number"),
        ([*SUITE, "--checkpoints=R", "--temperature=nan"], "--temperature is nan; give a number of at least 0"),
        ([*SUITE, "--checkpoints=R", "--temperature=inf"], "--temperature is inf; give at most 100"),
        ([*SUITE, "--checkpoints=R", "--temperature=1", "--top_p=0"], "--top_p is 0; give a number above 0"),
        ([*SUITE, "--checkpoints=R", "--temperature=1", "--top_p=1.1"], "--top_p is 1.1; give at most 1"),
        ([*SUITE, "--checkpoints=R", "--new_tokens=0"], "--new_tokens is 0"),
        ([*SUITE, "--checkpoints=R", "--k=0"], "--k is 0; give a whole number of at least 1"),
        ([*SUITE, "--checkpoints=R", "--k=1,,2"], "--k is ''; give a whole number"),
        ([*SUITE, "--checkpoints=R", "--steps=first"], "write several with commas: 2,3, or last"),
        ([*PROBE, "--steps=-640"], "--steps is -640; give a whole number of at least 0"),
        ([*PROBE, "--steps=0,last"], "--steps is 0,last; `last` stands alone"),
        ([*PROBE, "--layers=outer"], "--layers is 'outer'"),
        ([*PROBE, "--layers=2,inner"], "--layers is 2,inner; `inner` stands alone"),
        ([*PROBE, "--tuned_lens=-1"], "--tuned_lens is -1"),
        ([*PROBE, "--corpus=C", "--languages=,"], "--languages names nothing"),
        ([*PROBE, "--corpus=C", "--rows=0"], "--rows is 0; give a whole number of at least 1"),
        ([*PROBE, "--prompts=P", "--prompt_tokens=0"], "--prompt_tokens is 0"),
        (["convert", "--huggingface=H", "--run=R", "--step=1e3"], "--step is '1e3'; give a whole number"),
        ([*MIX, "--tokens=1.5"], "--tokens is 1.5; give a whole number of at least 1"),
        ([*MIX, "--tokens=1e308"], "--tokens is 1e308; give at most 1e+18"),
        ([*MIX, "--tokens=nan"], "--tokens is nan; give a whole number"),
        ([*TABLE, "--original=python=1e308,php=1e308"], "--original has 'python=1e308'; write NAME=TOKENS"),
        ([*TABLE, "--original=python=nan"], "--original has 'python=nan'"),
        ([*TABLE, "--original=python=1", "--budget=inf"], "--budget is inf; give at most"),
        ([*TABLE, "--original=python=1", "--min_share=2"], "--min_share is 2; give at most 1"),
        ([*TABLE, "--original=python=1", "--max_epochs=-1"], "--max_epochs is -1"),
        # none of them is ignored in silence
        ([*SUITE, "--completions=F", "--corpus=NONSENSE"], "--corpus goes with --checkpoints; leave it out"),
        ([*SUITE, "--completions=F", "--temperature=1"], "--temperature goes with --checkpoints"),
        ([*SUITE, "--completions=F", "--steps=last"], "--steps goes with --checkpoints"),
        ([*SUITE, "--solutions", "--samples=2"], "--samples goes with --checkpoints or --completions"),
        ([*SUITE, "--checkpoints=R", "--top_p=0.9"], "--top_p goes with --temperature"),
        ([*SUITE, "--checkpoints=R", "--samples=0", "--likelihood", "--k=2"], "--k goes with completions to judge"),
        ([*PROBE, "--corpus=C", "--seed=1"], "--seed goes with the texts of a study"),
        ([*PROBE, "--rows=9"], "--rows goes with --corpus"),
        ([*PROBE, "--prompt_tokens=9"], "--prompt_tokens goes with --corpus, --texts or --prompts"),
        ([*PROBE, "--row_tokens=9"], "--row_tokens goes with --texts"),
        ([*PROBE, "--texts=python=A,php=B", "--corpus=C"], "--texts goes with the model's own tokenizer"),
        ([*PROBE, "--texts=python=A,php=B", "--seed=1"], "--seed goes with the texts of a study"),
        ([*PROBE, "--random_sets=30"], "--random_sets goes with --interventions"),
        (
            ["corpus", "build", "--source=python=S", "--out=C", "--phase=start", "--shard=0/2"],
            "--shard goes with a phase",
        ),
        (["corpus", "build", "--source=python=S", "--out=C", "--beam", "--jobs=2"], "--jobs goes with a build on this"),
        # nor taken for another one
        (["convert", "--huggingface=--", "--run=R"], "--huggingface is '--'; give it a value"),
        (["convert", "--huggingface=", "--run=R"], "--huggingface is empty; name a file or a folder"),
        (["convert", "--huggingface=H", "--run=R", "--run=Q"], "--run is given twice"),
        ([*PROBE, "--checkpoints=Q"], "--checkpoints is given twice"),
        ([*SUITE, "--checkpoints=R", "--variant="], "--variant is empty; give a value, or leave it out"),
        (["corpus", "stats", ""], "corpus is empty; name a file or a folder"),
        (["corpus", "stats", "gs://bucket/corpus"], "is in a bucket"),
    ],
)
def test_an_argument_says_what_it_takes(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_arguments_are_read_as_they_are_meant():
    assert kinds.count(1, 10**18)("2e9") == 2 * 10**9 and isinstance(kinds.count(1, 10**18)("2e9"), int)
    assert kinds.integers(0, "last")("640,0,640") == (640, 0) and kinds.integers(0, "last")("last") == "last"
    assert kinds.names(" php, go,php") == ("php", "go")
    assert kinds.place("~/x") == os.path.expanduser("~/x") and kinds.place("gs://b/x") == "gs://b/x"
