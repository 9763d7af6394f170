import argparse
import inspect
import zlib

import numpy as np
import pytest
from helpers import byte_level

from babel_jax.corpus import call_sites, tokenizer
from babel_jax.corpus.document import Document
from babel_jax.languages.language import Identifier, identifier
from babel_jax.languages.lexical import code_only
from babel_jax.languages.registry import language

PYTHON, PHP, CPP, GO, CSHARP = map(language, ("python", "php", "cpp", "go", "csharp"))
LINES = "".join(f"first_{i} = second({i}) + {i}\n" for i in range(60))
CODE = LINES + "size = len(name)\nprint(len(other), strlen)\nprint('strlen(1) len(2)')\n# len(3)\n"


def pair(here, there):
    return identifier(here), identifier(there)


@pytest.mark.parametrize(
    ("record", "identifier", "text", "uses"),
    [
        (
            PYTHON,
            identifier("function len"),
            "x = len(a) + (len)(b) + my_len(c) + len (d) + o.len(e)",
            ["len(a)", "len (d)"],
        ),
        (
            PYTHON,
            identifier("function len"),
            "def len(a): pass\nfrom x import len\n'len(b)' # len(c)\nlen(d)",
            ["len(d)"],
        ),
        (
            PYTHON,
            identifier("method join not of path"),
            "os.path.join(a); posixpath.join(b); ','.join(c); join(d)",
            ["join(c)"],
        ),
        (PYTHON, identifier("method format"), "'{}'.format(a); x.format(b); format(c)", ["format(a)", "format(b)"]),
        (PYTHON, identifier("word None"), "x = None; f(None=1); o.None; NoneType; return None", ["None; f", "None"]),
        (
            PHP,
            identifier("function strlen"),
            "<?php strlen(1); \\strlen(2); A\\strlen(3); $x->strlen(4)",
            ["strlen(1)", "strlen(2)"],
        ),
        (
            PHP,
            identifier("function count"),
            "<?php A::count(1); function count(); function &count(); $count(); count(3)",
            ["count(3)"],
        ),
        (
            PHP,
            identifier("word echo"),
            "echo 0; <?php echo 1; $echo = 2; $o->echo; echo(3) ?> echo 4",
            ["echo 1", "echo(3)"],
        ),
        (
            PHP,
            identifier("word null"),
            "<?php f(null: 1); $a = null; X::null; $b ? null : 1; case null::X",
            ["null; X", "null::X"],
        ),
        (GO, identifier("method ToLower"), "strings.ToLower(a); ToLower(b); x.ToLower", ["ToLower(a)"]),
        (
            CSHARP,
            Identifier("Length", "property"),
            "a.Length + Length + b.Length() + c.Length;",
            ["Length + L", "Length;"],
        ),
        (CPP, Identifier("cout", "property"), "std::cout << a; cout << b;", ["cout << a"]),
    ],
)
def test_sites(record, identifier, text, uses):
    offsets = call_sites.sites(code_only(text, record), identifier, record)
    assert len(offsets) == len(uses)
    assert all(text[offset:].startswith(start) for offset, start in zip(offsets, uses, strict=True))


@pytest.fixture(scope="module", params=["sentencepiece", "huggingface"])
def trained(request):
    texts = [inspect.getsource(argparse), CODE * 20]
    if request.param == "sentencepiece":
        return tokenizer.train(texts, 420)
    return tokenizer.HuggingFace(byte_level([*texts, " strlen" * 500], 500).to_str().encode())


def planted(count=3):
    return [Document(f"p/{i}.py", f"head_{i} = {i}\n{CODE}".encode(), 0) for i in range(count)]


def mine(trained, documents, **options):
    pairs = [pair("function len", "function strlen"), pair("function print", "word echo")]
    return call_sites.mine(documents, PYTHON, pairs, trained, **{"max_length": 24, "per_pair": 50, **options})


def test_prompts_end_where_the_identifier_begins(trained):
    prompts, messages = mine(trained, planted())
    assert not messages
    assert [prompt.pair for prompt in prompts] == [0] * 6 + [1] * 6
    endings = {0: ("size =", "size = ", "print("), 1: ("name)\n", "strlen)\n")}
    for prompt in prompts:
        text = trained.decode(prompt.tokens)
        assert len(prompt.tokens) <= 24
        assert text.endswith(endings[prompt.pair])
        # The prompt and the first token are the tokens of the file: nothing was tokenised another way for the cut.
        whole = planted()[prompt.prompt].content.decode()
        ids = trained.encode(whole).tolist()
        sequence = [*prompt.tokens.tolist(), prompt.here]
        assert any(ids[i : i + len(sequence)] == sequence for i in range(len(ids)))
        piece = trained.pieces()[prompt.here].lstrip(b" ")
        assert piece and (b"len", b"print")[prompt.pair].startswith(piece)
        assert prompt.here != prompt.there


def test_prompts_are_spread_over_files_and_do_not_depend_on_what_is_left_out(trained):
    few, _ = mine(trained, planted(8), per_pair=8)
    assert sorted(prompt.prompt for prompt in few if prompt.pair == 0) == list(range(8))
    many, _ = mine(trained, planted(8), per_pair=9)
    key = lambda prompt: (prompt.pair, prompt.prompt, prompt.tokens.tobytes())  # noqa: E731
    assert set(map(key, few)) < set(map(key, many))


def test_a_pair_that_begins_with_the_same_token_is_rejected_with_a_message(trained):
    same = [pair("function len", "function lenient")]
    trained_on_both = tokenizer.train([inspect.getsource(argparse) + "lenient(1) " * 5], 420)
    prompts, messages = call_sites.mine(planted(), PYTHON, same, trained_on_both, 24, 50)
    assert not prompts
    assert messages == ["pair len/lenient rejected in Python: both begin with the same token."]


class FourBytes:
    """A tokenizer whose tokens are four bytes each, wherever words begin."""

    token_bytes_V = np.full(1 << 16, 4)

    def encode(self, text):
        chunks = [text[i : i + 4].ljust(4) for i in range(0, len(text), 4)]
        return np.array([zlib.crc32(chunk.encode()) % (1 << 16) for chunk in chunks])


def cut_behind(head):
    file = call_sites._Text("a.py", f"{head}call(x)", PYTHON, FourBytes())
    return file.cut(len(head), len(head), "call", "ring")


@pytest.mark.parametrize(("before", "cut"), [("", True), (" ", True), ("(", False), ("  ", False), ("   ", False)])
def test_a_site_within_a_token_is_left_out(before, cut):
    head = "abcd" * call_sites.FEWEST_TOKENS + before
    prompt = cut_behind(head)
    assert (prompt is not None) == cut
    if cut:
        np.testing.assert_array_equal(prompt[0], FourBytes().encode(head)[: call_sites.FEWEST_TOKENS])


def test_too_little_context_is_left_out():
    assert cut_behind("abcd" * (call_sites.FEWEST_TOKENS - 1)) is None


def test_pairs_with_the_same_identifier_share_its_sites(trained):
    pairs = [pair("function len", "function strlen"), pair("function len", "function count")]
    prompts, _ = call_sites.mine(planted(4), PYTHON, pairs, trained, 24, 50)
    assert sorted(prompt.pair for prompt in prompts) == [0] * 4 + [1] * 4
    assert len({(prompt.path, prompt.tokens.tobytes()) for prompt in prompts}) == 8


def test_slots_are_right_padded_and_point_at_the_last_token(trained):
    prompts, _ = mine(trained, planted())
    slots = call_sites.slots(prompts, True, 30, trained.padding)
    swapped = call_sites.slots(prompts, False, 30, trained.padding)
    np.testing.assert_array_equal(slots["primary_id"], swapped["new_id"])
    for i, prompt in enumerate(prompts):
        position = slots["position"][i]
        np.testing.assert_array_equal(slots["tokens"][i, : position + 1], prompt.tokens)
        assert (slots["tokens"][i, position + 1 :] == trained.padding).all()
        assert slots["primary_id"][i] == prompt.here and slots["new_id"][i] == prompt.there
    assert set(slots) == {"tokens", "position", "primary_id", "new_id", "pair", "prompt", "subset"}
