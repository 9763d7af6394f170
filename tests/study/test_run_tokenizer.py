"""The tokenizer that a run is exported with: its study's, a corpus's, or the one that came with an imported model."""

import pytest
import tokenizers
from helpers import SMALL_WORLD, corpora, world_config

from babel_jax.common import files
from babel_jax.corpus import corpus_files
from babel_jax.model.tokenizer_files import JSON, TokenizerFiles
from babel_jax.organism.world import World
from babel_jax.study import run_tokenizer
from babel_jax.training import foreign


def opened(found: TokenizerFiles) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(found.contents[JSON].decode())


def in_study(tmp_path, **study):
    files.write_json(tmp_path / "config.json", {"primary": "python", "new": "php"} | study)
    run = tmp_path / "seed3" / "continual"
    files.write_json(run / "config.json", {"config": {"seed": 3}, "material": "x"})
    return run


def test_a_run_of_the_embedded_world_has_the_words_of_its_seed(tmp_path):
    found = opened(run_tokenizer.files_of(in_study(tmp_path, kind="organism", world=SMALL_WORLD)))
    assert found.get_vocab() == World(world_config(), 3).ids


@pytest.mark.long
def test_a_run_of_real_code_has_its_corpuss(tmp_path):
    corpora.build.build(corpora.write_sources(tmp_path / "sources"), tmp_path / "corpus", **corpora.QUIET)
    own = corpus_files.load(tmp_path / "corpus").tokenizer
    run = in_study(tmp_path, kind="real_code", corpus=str(tmp_path / "corpus"))
    alone = tmp_path / "alone"
    for found in (run_tokenizer.files_of(run), run_tokenizer.files_of(alone, tmp_path / "corpus")):
        ids = own.encode("def f(x):\n    return x\n").tolist()
        assert opened(found).encode("def f(x):\n    return x\n", add_special_tokens=False).ids == ids
    assert run_tokenizer.files_of(alone) is None


def test_an_imported_run_keeps_its_own(tmp_path):
    run = tmp_path / "run"
    files.write_json(run / "config.json", {"config": {"imported": {}, "tokens": {"eos_token_id": 7}}, "material": None})
    files.write_atomic(run / foreign.TOKENIZER / JSON, b"{}")
    assert run_tokenizer.files_of(run) == TokenizerFiles({JSON: b"{}"}, {"eos_token_id": 7})
