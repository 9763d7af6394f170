import argparse
import inspect
import io
import json

import numpy as np
import pytest
import sentencepiece
import tokenizers
from helpers import byte_level, python
from hypothesis import given, settings
from hypothesis import strategies as st

from babel_jax.common.errors import UserError
from babel_jax.corpus import tokenizer

TEXT = inspect.getsource(argparse) + "def tabs():\n\treturn 1\n" * 20
ODD = [
    "",
    " ",
    "\n\n\n\t \r\n",
    "  leading and trailing  \n",
    "no-break\u00a0space, zero\u200bwidth, \ufeffmark, ﬁ, e\u0301, 漢字, 🙂",
    "<s> </s> <unk> <0x0A> ⁇ <|endoftext|> </s><|endoftext|>",
    "\x00\x01\x7f",
    "tabs\t\t\t\t\t\t\t and " + " " * 37 + "spaces",
]


@pytest.fixture(scope="module")
def trained():
    return tokenizer.train([TEXT], 400)


@pytest.fixture(scope="module")
def byte_level_json():
    return json.loads(byte_level([TEXT], 500).to_str())


def sentencepiece_model(**changes):
    """A model of SentencePiece's own, as others publish them: with the space before a text that `train` leaves out."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")),
        model_writer=model,
        vocab_size=400,
        **dict(
            model_type="bpe",
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=2,
        )
        | changes,
    )
    return model.getvalue()


def with_fallback(byte_level_json, ignore_merges=False, **changes):
    """The other kind of a lossless tokenizer.json: spaces written as U+2581, a token for every byte."""
    words = ["def", "\u2581def", "\u2581", *(chr(c) for c in range(33, 127)), "de", "\u2581de"]
    vocab = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    added = [
        dict(id=i, content=token, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        for i, token in enumerate(vocab[:3])
    ]
    model = dict(
        type="BPE",
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
        vocab={token: i for i, token in enumerate(vocab)},
        merges=["d e", "\u2581 de", "\u2581de f", "de f"],
    )
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace]}
    return (
        byte_level_json
        | dict(
            added_tokens=added,
            model=model | {"ignore_merges": ignore_merges},
            normalizer=normalizer,
            pre_tokenizer=None,
            decoder=None,
        )
        | changes
    )


def saved(place, content):
    place.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return place


@pytest.fixture(scope="module")
def every(trained, byte_level_json, tmp_path_factory):
    """A tokenizer of every kind that is taken."""
    folder = tmp_path_factory.mktemp("every")
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True, "str_rep": "\u2581"}
    prefixed = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    whitespace = dict(id=500, content="\n        ", lstrip=False, rstrip=False, normalized=True, single_word=False)
    kinds = {
        "trained": trained.content,
        "bpe": sentencepiece_model(),
        "unigram": sentencepiece_model(model_type="unigram", pad_id=3),
        "byte_level": byte_level_json,
        "byte_level_composing": byte_level_json | {"normalizer": {"type": "NFC"}},
        "byte_level_sequence": byte_level_json | {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}},
        "byte_level_prefixed": byte_level_json | {"pre_tokenizer": prefixed},
        "byte_level_padded": byte_level_json
        | dict(
            model=byte_level_json["model"] | {"dropout": 0.5},
            post_processor={
                "type": "TemplateProcessing",
                "single": [
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
                ],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
            },
            truncation=dict(max_length=8, stride=0, strategy="LongestFirst", direction="Right"),
            padding=dict(strategy={"Fixed": 64}, direction="Left", pad_id=0, pad_type_id=0, pad_token="<|endoftext|>"),
        ),
        "byte_level_whitespace": byte_level_json
        | {"added_tokens": [*byte_level_json["added_tokens"], whitespace | {"special": False}]},
        "fallback": with_fallback(byte_level_json),
        "fallback_metaspace": with_fallback(byte_level_json, normalizer=None, pre_tokenizer=metaspace),
    }
    return {name: tokenizer.load(saved(folder / name, content)) for name, content in kinds.items()}


def check_exact(each, text):
    ids, pieces = each.encode(text), each.pieces()
    assert ids.dtype == np.int32 and (ids < each.vocab_size).all()
    assert each.decode(ids) == text
    assert b"".join(pieces[i] for i in ids) == text.encode()
    assert each.token_bytes_V[ids].sum() == len(text.encode())
    assert not (ids == each.document_end).any()


def test_every_kind_gives_texts_back_and_never_writes_the_end(every):
    for each in every.values():
        for text in [TEXT, *ODD, *tokenizer.HARD]:
            check_exact(each, text)
        assert each.token_bytes_V[each.document_end] == 0 and each.token_bytes_V.shape == (each.vocab_size,)
        assert each.decode([each.document_end, *each.encode("x"), each.padding]) == "x"
    assert every["byte_level"].document_end == 0 and every["fallback"].document_end == 2
    assert every["byte_level_whitespace"].encode("\n        ").tolist() == [500]
    np.testing.assert_array_equal(every["byte_level_padded"].encode(TEXT), every["byte_level"].encode(TEXT))
    assert every["unigram"].padding == 3 and every["bpe"].padding == every["bpe"].document_end == 2


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581")))
def test_any_text_comes_back(every, text):
    for each in every.values():
        check_exact(each, text)


def test_nothing_stands_before_a_text_that_is_not_in_it(every):
    for name in ("bpe", "unigram", "byte_level_prefixed", "fallback", "fallback_metaspace"):
        each = every[name]
        assert each.pieces()[each.encode("def x")[0]].startswith(b"d"), name


def test_sentencepiece_reads_one_character_as_a_space(trained):
    assert trained.decode(trained.encode("a\u2581b")) == "a b"


def whole(content, text):
    return sentencepiece.SentencePieceProcessor(model_proto=content + tokenizer.NO_SPACE_BEFORE).encode(text)


def test_ids_of_words_are_the_ids_of_the_text(trained, monkeypatch):
    monkeypatch.setattr(tokenizer, "WORDS", 50)  # more come than are kept
    text = "".join(f"{'    ' * (n % 4)}value{n}   = {n}{chr(10) * (1 + n % 5 // 4 * (n % 7))}" for n in range(2000))
    fresh = tokenizer.SentencePiece(trained.content)
    for each in (text, text[:300], *tokenizer.HARD, TEXT, "x" * 5000 + " x", text):
        np.testing.assert_array_equal(fresh.encode(each), whole(trained.content, each))
        assert all(len(word) <= tokenizer.LONGEST_WORD for word in fresh._ids_of_word)
    assert 0 < len(fresh._ids_of_word) <= 50 + len(set(text.split()))
    fresh.encode("a b")[0] = 1  # the ids are the caller's own
    np.testing.assert_array_equal(fresh.encode("a b"), whole(trained.content, "a b"))


@pytest.mark.parametrize(
    "changes",
    [dict(user_defined_symbols=["\n", "x y", "=  "]), dict(model_type="unigram")],
)
def test_a_vocabulary_that_joins_words_encodes_whole_texts(changes):
    content = sentencepiece_model(**changes)
    each = tokenizer.SentencePiece(content)
    assert not each._by_words
    for text in ("x y", "a =  b", TEXT):
        np.testing.assert_array_equal(each.encode(text), whole(content, text))


def test_decoding_goes_on_where_a_character_is_not_complete(trained):
    ids = trained.encode("é")
    assert len(ids) == 2 and trained.decode(ids[:1]) == "\ufffd" and trained.decode(ids) == "é"


def test_same_texts_same_tokenizer_and_other_texts_another(trained, every, tmp_path):
    again = tokenizer.train([TEXT], 400)
    assert again.content == trained.content
    assert tokenizer.train([TEXT[::-1]], 400).sha != trained.sha
    for name, each in every.items():
        each.save(tmp_path / name)
        assert [file.name for file in (tmp_path / name).iterdir()] == [each.file]
        loaded = tokenizer.load(tmp_path / name)
        assert loaded.sha == each.sha and loaded.document_end == each.document_end
        np.testing.assert_array_equal(loaded.encode(TEXT), each.encode(TEXT))


def test_training_pieces_are_short_and_complete():
    text = "x" * 9000 + "\n" + TEXT
    pieces = list(tokenizer.sentences(text))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= tokenizer.SENTENCE
    assert all(piece.endswith("\n") for piece in pieces[2:])


def word_piece():
    model = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[UNK]", "</s>"], show_progress=False
    )
    model.train_from_iterator([TEXT], trainer)
    return json.loads(model.to_str())


def special(content, **changes):
    return (
        dict(id=500, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        | changes
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (lambda j: sentencepiece_model(normalization_rule_name="nmt_nfkc"), "it loses text: .* comes back as "),
        (lambda j: sentencepiece_model(remove_extra_whitespaces=True), "it loses text: ' ' comes back as ''"),
        (lambda j: sentencepiece_model(byte_fallback=False), "it loses text"),
        (lambda j: sentencepiece_model(eos_id=-1), "no token that ends a document"),
        (lambda j: j | {"normalizer": {"type": "Lowercase"}}, "it loses text: .* comes back as 'm"),
        (lambda j: j | {"normalizer": {"type": "NFKC"}}, "it loses text"),
        (lambda j: j | {"pre_tokenizer": {"type": "Whitespace"}}, "its tokens are not made of bytes"),
        (
            lambda j: (
                j
                | {
                    "pre_tokenizer": {
                        "type": "Sequence",
                        "pretokenizers": [{"type": "WhitespaceSplit"}, j["pre_tokenizer"]],
                    }
                }
            ),
            "it loses text: ' ' comes back as ''",
        ),
        # a mark's name that is one of the vocabulary's words
        (lambda j: with_fallback(j, ignore_merges=True, normalizer=None), "it loses text: '<unk>' comes back as ''"),
        (lambda j: word_piece(), "its tokens are not made of bytes"),
        (lambda j: j | {"added_tokens": []}, "no special token that ends a document; add one of <|endoftext|>"),
        (lambda j: j | {"added_tokens": [special("<|endoftext|>", id=0, special=False)]}, "no special token that ends"),
        (
            lambda j: j | {"added_tokens": [*j["added_tokens"], special("<x>", lstrip=True, special=False)]},
            "loses text",
        ),
        (lambda j: json.loads(byte_level([TEXT], 400, "<bye>").to_str()), "no special token that ends a document"),
        (lambda j: {"version": "1.0"}, "cannot read .* as a HuggingFace tokenizer"),
        (lambda j: b'{"version": ', "cannot read .* as a HuggingFace tokenizer"),
        (lambda j: b"no model", "cannot read .* as a SentencePiece tokenizer"),
        (lambda j: sentencepiece_model()[:5000], "cannot read .* as a SentencePiece tokenizer"),
        (lambda j: b"", "cannot read .* as a SentencePiece tokenizer"),
    ],
)
def test_a_tokenizer_that_loses_text_or_has_no_end_is_refused(byte_level_json, tmp_path, changed, says):
    place = saved(tmp_path / "file", changed(byte_level_json))
    with pytest.raises(UserError, match=says) as error:
        tokenizer.load(place)
    assert str(place) in str(error.value) and "\n" not in str(error.value)


def test_errors_say_what_to_do(trained, byte_level_json, tmp_path):
    with pytest.raises(UserError, match="cannot make a vocabulary of 9000 .*; choose another --vocab_size"):
        tokenizer.train(["a = 1\n"], 9000)
    with pytest.raises(UserError, match="cannot read .*nowhere .*; check the path of the tokenizer"):
        tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no tokenizer.model and no tokenizer.json"):
        tokenizer.load(tmp_path)
    trained.save(tmp_path)
    saved(tmp_path / "tokenizer.json", byte_level_json)
    with pytest.raises(UserError, match="holds two tokenizers; name the file"):
        tokenizer.load(tmp_path)


@pytest.mark.processes
def test_a_worker_that_encodes_loads_nothing_large():
    heavy = ("jax", "tensorflow", "tensorflow_datasets", "pandas", "matplotlib")
    code = f"import sys, babel_jax.corpus.tokenizer; print([name for name in {heavy} if name in sys.modules])"
    assert python("-c", code).stdout.strip() == "[]"


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
PREPEND = {"type": "Prepend", "prepend": "\u2581"}
NORMALIZERS = [
    None,
    PREPEND,
    {"type": "Sequence", "normalizers": [PREPEND, {"type": "Sequence", "normalizers": [{"type": "NFC"}, PREPEND]}]},
    {"type": "Lowercase"},
    {"type": "ByteLevel"},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Replace", "pattern": {"String": ""}, "content": "x"},
    {"type": "Precompiled", "precompiled_charsmap": ""},
    {"type": "Sequence", "normalizers": [3]},
    [],
    3,
]
PRE_TOKENIZERS = [
    None,
    BYTE_LEVEL,
    {"type": "Sequence", "pretokenizers": [BYTE_LEVEL, BYTE_LEVEL]},
    {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Removed", "invert": False},
    {"type": "FixedLength", "length": 0},
    {"type": "Nonsense"},
    [],
]
MODELS = [
    {},
    {"continuing_subword_prefix": "##"},
    {"end_of_word_suffix": "</w>"},
    {"byte_fallback": True},
    {"unk_token": "nowhere"},
    {"vocab": {}},
    {"vocab": {"a": 4_000_000_000}, "merges": []},
]


def test_a_space_that_is_prepended_is_left_out(byte_level_json, tmp_path):
    for normalizer in NORMALIZERS[1:3]:
        loaded = tokenizer.load(saved(tmp_path / "tokenizer.json", byte_level_json | {"normalizer": normalizer}))
        check_exact(loaded, "")
        check_exact(loaded, TEXT[:500])


def test_any_parts_work_without_loss_or_are_refused_in_one_line(byte_level_json, tmp_path, capfd):
    """Many of them make the library panic, which is no `Exception` and prints its stack."""
    taken = 0
    for normalizer in NORMALIZERS:
        for pre_tokenizer in PRE_TOKENIZERS:
            for changes in MODELS if None in (normalizer, pre_tokenizer) else MODELS[:1]:
                parts = dict(
                    normalizer=normalizer, pre_tokenizer=pre_tokenizer, model=byte_level_json["model"] | changes
                )
                place = saved(tmp_path / "tokenizer.json", byte_level_json | parts)
                try:
                    loaded = tokenizer.load(place)
                except UserError as error:
                    assert str(place) in str(error) and str(error).isprintable()
                    continue
                check_exact(loaded, " x\n\ty  Àé漢 ")
                taken += 1
    assert taken >= 10 and capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "content, says",
    [
        (b"{" * 100_000, "Expecting property name"),
        (b'{"a":' * 100_000, "too many brackets"),
        (b"{}", "its model is null, not an object"),
        (b'{"model": []}', "its model is a list, not an object"),
        (b'{"model": {}, "normalizer": "NFC"}', "its normalizer is 'NFC', not an object"),
        (b"{\xff}", "can't decode byte"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, content, says):
    with pytest.raises(UserError, match=f"cannot read .* as a HuggingFace tokenizer .*{says}"):
        tokenizer.load(saved(tmp_path / "tokenizer.json", content))


def test_a_text_that_makes_the_library_panic_is_an_error(trained, byte_level_json, tmp_path, monkeypatch):
    class PanicException(BaseException):
        pass

    class Panics:
        def encode_batch_fast(self, texts, **settings):
            raise PanicException("index out of bounds\nat line 7")

    loaded = tokenizer.load(saved(tmp_path / "tokenizer.json", byte_level_json))
    monkeypatch.setattr(loaded, "_tokenizer", Panics())
    with pytest.raises(UserError, match="cannot encode a text by tokenizer.json .index out of bounds at line 7"):
        loaded.encode("x")
