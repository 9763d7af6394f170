"""Tokenizers as files of Hugging Face: SentencePiece converted and compared, words of a world, what does not fit."""

import json

import numpy as np
import pytest
import tokenizers
from helpers import ROOT, byte_level, world_config

from babel_jax.common.errors import UserError
from babel_jax.corpus import tokenizer as corpus_tokenizer
from babel_jax.model import tokenizer_files
from babel_jax.model.tokenizer_files import JSON, SETTINGS
from babel_jax.organism.world import World

TEXTS = [path.read_text() for path in sorted((ROOT / "babel_jax" / "probes").glob("*.py"))]
RUNS = [sign * count for sign in "=-# \t\na" for count in range(1, 40)]  # where neighbours could be joined in many ways


@pytest.fixture(scope="module")
def own():
    return corpus_tokenizer.train(TEXTS, 900)


def opened(files) -> tokenizers.Tokenizer:
    theirs = tokenizers.Tokenizer.from_str(files.contents[JSON].decode())
    theirs.encode_special_tokens = True
    return theirs


def test_a_sentencepiece_model_gives_the_same_ids_and_texts(own):
    files = tokenizer_files.of_tokenizer(own, 64, TEXTS)
    theirs = opened(files)
    for text in (*TEXTS, *RUNS, *corpus_tokenizer.HARD):
        ids = own.encode(text).tolist()
        assert theirs.encode(text, add_special_tokens=False).ids == ids
        assert theirs.decode(ids, skip_special_tokens=False) == text
    settings = json.loads(files.contents[SETTINGS])
    assert (settings["eos_token"], settings["pad_token"], settings["model_max_length"]) == ("</s>", "<pad>", 64)
    assert files.tokens == {"bos_token_id": None, "eos_token_id": own.document_end, "pad_token_id": own.padding}


def test_other_ids_are_refused_and_the_text_is_quoted(own, monkeypatch):
    converted = tokenizer_files._converted

    def without_merges(tokenizer):
        settings = json.loads(converted(tokenizer).to_str())
        settings["model"]["merges"] = settings["model"]["merges"][:-50]
        return tokenizers.Tokenizer.from_str(json.dumps(settings))

    monkeypatch.setattr(tokenizer_files, "_converted", without_merges)
    with pytest.raises(UserError, match="cannot be written as tokenizer.json: it gives other ids for '") as error:
        tokenizer_files.of_tokenizer(own, 64, TEXTS)
    assert "\n" not in str(error.value)


def test_a_tokenizer_json_of_a_corpus_stays_what_it_is_here(tmp_path):
    """Here no tokenizer puts a space before a text; neither does what is written."""
    content = json.loads(byte_level(TEXTS, 400).to_str())
    content["pre_tokenizer"]["add_prefix_space"] = True
    (tmp_path / JSON).write_text(json.dumps(content))
    own = corpus_tokenizer.load(tmp_path)
    theirs = opened(tokenizer_files.of_tokenizer(own, 64, TEXTS))
    assert theirs.encode("def f", add_special_tokens=False).ids == own.encode("def f").tolist()


def test_words_of_a_world_are_tokens():
    world = World(world_config(), 0)
    theirs = opened(tokenizer_files.of_words(world.tokens, 11))
    row = world.corpus("python", 3, "heldout")[0].tolist()
    text = "\t".join(world.tokens[i] for i in row)
    assert theirs.encode(text).ids == row and theirs.decode(row) == text
    everything = list(range(world.vocab_size))
    assert theirs.encode(theirs.decode(everything)).ids == everything
    for words in (["a", "a"], ["a\tb"], ["a", ""]):
        with pytest.raises(UserError, match="cannot be written as tokenizer.json"):
            tokenizer_files.of_words(words, 11)


def test_a_tokenizer_belongs_to_a_vocabulary(own, tmp_path):
    byte = byte_level(TEXTS, 300)
    byte.add_tokens(["<added>"])
    rows = byte.get_vocab_size()
    cases = (
        ({JSON: byte.to_str().encode()}, rows),
        ({"vocab.json": b'{"a": 0, "b": 6}', "merges.txt": b""}, 7),
        ({"vocab.json": b'{"a": 0}', "added_tokens.json": b'{"x": 9}'}, 10),
        ({"tokenizer.model": own.content}, 900),
        ({"chat_template.jinja": b"x"}, 0),
    )
    for contents, least in cases:
        tokenizer_files.check_belongs(contents, least, "here")
        tokenizer_files.check_belongs(contents, least + 100, "here")  # rows that are padding
        if least:
            with pytest.raises(
                UserError, match=f"here has ids up to {least - 1} and the model's table has {least - 1} rows"
            ):
                tokenizer_files.check_belongs(contents, least - 1, "here")
    for broken in ({JSON: b"{"}, {"tokenizer.model": b"x"}, {"vocab.json": b'{"a": "b"}'}):
        with pytest.raises(UserError, match="cannot read the tokenizer here") as error:
            tokenizer_files.check_belongs(broken, 10, "here")
        assert "\n" not in str(error.value)


def test_files_are_kept_as_they_are(tmp_path):
    contents = {JSON: b'{"a": 1}', "merges.txt": "é\n".encode("latin-1"), "generation_config.json": b"{}"}
    tokenizer_files.write(tmp_path / "a", contents)
    (tmp_path / "a" / "config.json").write_text("{}")
    assert tokenizer_files.read(tmp_path / "a") == contents


@pytest.mark.oracle
def test_auto_tokenizer_reads_what_is_written(own, tmp_path):
    transformers = pytest.importorskip("transformers", reason="no transformers here to read a tokenizer")
    world = World(world_config(), 0)
    tokenizer_files.write(tmp_path / "own", tokenizer_files.of_tokenizer(own, 64, TEXTS).contents)
    tokenizer_files.write(tmp_path / "world", tokenizer_files.of_words(world.tokens, 11).contents)
    for folder in ("own", "world"):
        (tmp_path / folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "own")
    for text in (*TEXTS, *RUNS, *corpus_tokenizer.HARD):
        assert theirs(text)["input_ids"] == own.encode(text).tolist()
        assert theirs.decode(own.encode(text)) == text
    assert (theirs.eos_token_id, theirs.pad_token_id) == (own.document_end, own.padding)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "world")
    row = world.corpus("python", 1, "heldout")[0]
    assert np.array_equal(theirs("\t".join(world.tokens[i] for i in row))["input_ids"], row)
