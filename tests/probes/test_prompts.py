import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import byte_level, loud

from babel_jax.common.errors import UserError
from babel_jax.corpus import tokenizer
from babel_jax.languages.language import identifier
from babel_jax.model.decoder import Decoder, DecoderConfig
from babel_jax.model.taps import TapRequest
from babel_jax.probes import forward, lens, prompts, slot_names
from babel_jax.probes.subject import Subject


def pair(here, there):
    return identifier(here), identifier(there)


LANGUAGES = ("python", "php")
CODE = """size = len(name)
long = strlen(name)
if name: raise error
if name: throw error
print(stamp)
println(stamp)
for each in lenient(name):
    pass
raise
throw
str lower pattern
"""
V = 362  # so small that " strlen" is two tokens, so large that the other identifiers are one
PAIRS = [pair("function len", "function strlen"), pair("word raise", "word throw")]
CONFIG = DecoderConfig(vocab_size=V, width=8, layers=3, heads=2, ffn_width=16, max_length=12)


@pytest.fixture(scope="module")
def trained():
    return tokenizer.train([CODE * 20], V)


@pytest.fixture(scope="module")
def pieces(trained):
    return trained.pieces()


def make_slots(trained, texts, pairs=PAIRS):
    """A slot for each prompt and each pair, the identifier glued to a space where the prompt's end asks for it."""
    slots = []
    for prompt, text in enumerate(texts):
        for pair, (primary, new) in enumerate(pairs):
            ids = trained.encode(text)
            first = [int(trained.encode(text + name.text)[len(ids)]) for name in (primary, new)]
            slots.append((np.pad(ids, (0, 12 - len(ids))), len(ids) - 1, *first, pair, prompt, 0))
    names = ("tokens", "position", "primary_id", "new_id", "pair", "prompt", "subset")
    return {name: np.array(values, np.int32) for name, values in zip(names, zip(*slots, strict=True), strict=True)}


def text_of(ids, pieces):
    return {pieces[i] for i in ids if i >= 0}


def test_sets_hold_the_tokens_that_begin_the_identifier(trained, pieces):
    assert text_of(prompts.first_tokens("len", trained), pieces) == {b"len", b" len"}
    assert text_of(prompts.first_tokens("strlen", trained), pieces) == {b"str", b" str"}
    assert text_of(prompts.first_tokens("error", trained), pieces) == {b"er", b" error"}
    ids = prompts.prefix_tokens("strlen", pieces)
    assert int(trained.encode("s")[0]) in ids  # and not the token of that byte, which is never written
    prefix = text_of(ids, pieces)
    assert len(prefix) == len(ids)
    assert prefix == {p for p in pieces if p.removeprefix(b" ") and b"strlen".startswith(p.removeprefix(b" "))}
    assert {b"s", b"str", b" str"} <= prefix and b" " not in prefix and b"n" not in prefix
    assert not any(prompts.first_tokens("\u00e9t\u00e9", trained))  # a byte of a letter begins no identifier


def test_sets_of_a_byte_level_tokenizer():
    other = tokenizer.HuggingFace(byte_level([CODE * 20], V).to_str().encode())
    pieces = other.pieces()
    assert text_of(prompts.first_tokens("raise", other), pieces) == {b"raise", b" raise"}
    prefix = text_of(prompts.prefix_tokens("strlen", pieces), pieces)
    assert {b"s", b"str"} <= prefix and b" " not in prefix and b"n" not in prefix and b"" not in prefix
    slots = make_slots(other, ["if name:"], [pair("word raise", "word throw")])
    slots = {name: np.asarray(values) for name, values in slots.items()}
    chosen, messages = prompts.with_identifiers(slots, [pair("word raise", "word throw")], other, "sequence")
    assert not messages and b"".join(pieces[i] for i in chosen["primary_sequence"][0]) == b"raise"


@pytest.mark.parametrize("mode", ["first", "prefix"])
def test_slots_get_the_sets_of_their_pair(trained, pieces, mode):
    slots = make_slots(trained, ["a = (", "if name:\n"])
    chosen, messages = prompts.with_identifiers(slots, PAIRS, trained, mode)
    assert not messages and len(chosen["pair"]) == 4
    for n, number in enumerate(slots["pair"]):
        for side, one in zip(("primary", "new"), PAIRS[number], strict=True):
            ids = chosen[f"{side}_ids"][n]
            ids = ids[ids >= 0]
            want = {
                "first": prompts.first_tokens(one.text, trained) | {int(slots[f"{side}_id"][n])},
                "prefix": prompts.prefix_tokens(one.text, pieces),
            }[mode]
            assert set(ids.tolist()) == want and len(ids) == len(want)


def test_a_pair_whose_sets_meet_is_left_out_with_a_message(trained):
    pairs = [*PAIRS, pair("function len", "function lower")]  # both begin with l
    slots = make_slots(trained, ["a = (", "if name:\n"], pairs)
    chosen, messages = prompts.with_identifiers(slots, pairs, trained, "prefix")
    assert chosen["pair"].tolist() == [0, 1, 0, 1]
    assert all(len(values) == 4 for values in chosen.values())
    assert len(messages) == 1 and messages[0].startswith("pair len/lower rejected: both may begin with the token ")
    only = {name: values[2::3] for name, values in slots.items()}
    with pytest.raises(UserError, match="no prompt is left that mode 'prefix' can read.*len/lower"):
        prompts.with_identifiers(only, pairs, trained, "prefix")
    with pytest.raises(UserError, match="did you mean 'prefix'"):
        prompts.with_identifiers(slots, pairs, trained, "prefixes")


def test_without_a_tokenizer_ids_are_as_given(trained):
    slots = make_slots(trained, ["a = ("])
    for mode in prompts.MODES:
        name = "primary_sequence" if mode == "sequence" else "primary_ids"
        chosen, messages = prompts.with_identifiers(slots, PAIRS, None, mode)
        assert not messages and chosen[name].tolist() == slots["primary_id"][:, None].tolist()


def test_sequences_are_the_tokens_of_the_identifier_in_its_context(trained):
    slots = make_slots(trained, ["a = (", "if name:\n"])
    spaced = trained.encode("x = len")[-1]
    assert trained.pieces()[spaced].startswith(b" ")
    slots["primary_id"][0] = spaced  # this one stands behind a space
    slots["new_id"][0] = trained.encode(" strlen")[0]
    slots["new_id"][3] = trained.encode("z")[0]  # and this one's context joins it with something else
    chosen, messages = prompts.with_identifiers(slots, PAIRS, trained, "sequence")
    assert chosen["pair"].tolist() == [0, 1, 0] and messages[0].startswith("1 prompts left out")
    decoded = [trained.decode(ids[ids >= 0]) for ids in chosen["primary_sequence"]]
    assert decoded == [" len", "raise", "len"]
    decoded = [trained.decode(ids[ids >= 0]) for ids in chosen["new_sequence"]]
    assert decoded == [" strlen", "throw", "strlen"]


def test_sequences_are_read_as_if_each_token_were_predicted_alone():
    """Also where a prompt is so long that it is cut: by as much for both identifiers of a slot."""
    params, rng = loud(CONFIG), np.random.default_rng(0)
    slots = {
        "tokens": rng.integers(1, V, (2, 12)),
        "position": np.array([5, 11]),
        "primary_id": np.array([7, 8]),
        "new_id": np.array([9, 10]),
        "primary_sequence": np.array([[7, -1, -1], [8, 3, -1]]),
        "new_sequence": np.array([[9, 4, 5], [10, 6, 11]]),
        "pair": np.arange(2),
        "prompt": np.arange(2),
        "subset": np.zeros(2, int),
    }
    rows = prompts.sequence_rows(slots)
    assert (
        rows["tokens"].shape == (4, 12) and rows["position"].shape == (4, 3) and rows["candidates"].shape == (4, 3, 1)
    )
    request = TapRequest(positions_BxP=jnp.asarray(rows["position"]))
    _, taps = Decoder(CONFIG).apply({"params": params}, rows["tokens"], None, request)
    raw = lens.read_candidates(params, CONFIG, taps["residual_LxBxPxD"], jnp.asarray(rows["candidates"]))
    primary_LxN, new_LxN = prompts.sequence_log_probs(raw["log_prob_LxBxPxC"], slots)
    got = lens.SlotReadings(primary_log_prob_LxN=primary_LxN, new_log_prob_LxN=new_LxN)

    everywhere = jnp.arange(12)[None]
    reader = jax.jit(
        lambda row: lens.read_candidates(
            params,
            CONFIG,
            Decoder(CONFIG).apply({"params": params}, row, None, TapRequest(positions_BxP=everywhere))[1][
                "residual_LxBxPxD"
            ],
            jnp.broadcast_to(jnp.arange(V), (1, 12, V)),
        )["log_prob_LxBxPxC"][:, 0]
    )
    for side, name in (("primary", "primary_log_prob_LxN"), ("new", "new_log_prob_LxN")):
        for n, start in enumerate((0, 2)):  # the second prompt fills the row: two tokens more, two tokens less
            row = slots["tokens"][n, start : slots["position"][n] + 1].tolist()
            ids = [token for token in slots[f"{side}_sequence"][n].tolist() if token >= 0]
            total = 0
            for token in ids:
                total += np.asarray(reader(np.array([row + [0] * (12 - len(row))])))[:, len(row) - 1, token]
                row.append(token)
            np.testing.assert_allclose(getattr(got, name)[:, n], total / len(ids), atol=1e-4)

    language = lens.working_language(got, slots, "php")
    assert {row["metric"] for row in language} == {"primary_share_prob", "primary_share_pair"}
    assert {row["n"] for row in language if row["probe"] == "lens"} == {2}


def test_an_identifier_longer_than_the_row_is_an_error():
    slots = {"tokens": np.ones((1, 3), int), "position": np.array([2])}
    slots |= {"primary_sequence": np.array([[1, 2, 3, 4]]), "new_sequence": np.array([[2, -1, -1, -1]])}
    with pytest.raises(UserError, match="4 tokens does not fit rows of 3"):
        prompts.sequence_rows(slots)


def test_the_mark_before_a_text_stays_where_a_whole_identifier_needs_its_room():
    slots = {
        "tokens": np.array([[9, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]]),
        "position": np.array([5, 4]),
        "primary_sequence": np.array([[6, 7, 8], [6, -1, -1]]),
        "new_sequence": np.array([[6, -1, -1], [7, 8, -1]]),
    }
    marked, plain = prompts.sequence_rows(slots, begin=9), prompts.sequence_rows(slots)
    assert marked["tokens"].tolist()[0] == [9, 3, 4, 5, 6, 7] and plain["tokens"].tolist()[0] == [2, 3, 4, 5, 6, 7]
    assert marked["tokens"].tolist()[2] == [9, 3, 4, 5, 0, 0]
    assert marked["tokens"].tolist()[1::2] == plain["tokens"].tolist()[1::2]
    np.testing.assert_array_equal(marked["position"], plain["position"])
    with pytest.raises(UserError, match="does not fit rows of 6"):
        prompts.sequence_rows(slots | {"primary_sequence": np.ones((2, 6), int)}, begin=9)


GOOD = {"language": "python", "text": "a = (", "primary": "len", "new": "strlen"}


def write(tmp_path, *lines):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def read(path, trained, **options):
    return prompts.read_prompts(path, LANGUAGES, trained, **{"vocab_size": V, "max_length": 12, **options})


def test_a_file_of_prompts_becomes_slots(tmp_path, trained):
    long = "if name:\n    " + "name " * 20 + "= "
    path = write(
        tmp_path,
        GOOD | {"item": 7, "prompt": "x"},
        "",
        GOOD | {"language": "php", "item": 7, "subset": 1, "text": "for "},
        GOOD | {"language": "php", "item": 8, "text": long, "primary": "raise", "new": "throw", "pair": "error"},
        GOOD | {"language": "python", "item": 9, "prompt": "x"},
        {"language": "php", "tokens": list(range(5, 30)), "primary": 40, "new": [41, 42], "item": 10},
    )
    slots = read(path, trained)
    python, php = slots["python"], slots["php"]
    assert trained.decode(python["tokens"][0, : python["position"][0] + 1]) == "a = ("
    assert python["pair"].tolist() == [0, 0] and python["prompt"].tolist() == [0, 0]
    assert php["pair"].tolist() == [0, 1, 2] and len(set(php["prompt"])) == 3
    assert php["subset"].tolist() == [1, 0, 0] and php["item"].tolist() == [7, 8, 10]
    # A space at the end belongs to the identifier's first token; what is too long is cut on the left.
    assert trained.decode(php["tokens"][0, : php["position"][0] + 1]) == "for"
    assert trained.pieces()[php["primary_id"][0]].startswith(b" ")
    whole = trained.encode(long + "raise").tolist()
    assert php["position"][1] == 11 and php["primary_id"][1] in whole[-5:]
    place = len(trained.encode(long.removesuffix(" ")))
    assert php["tokens"][1].tolist() == whole[place - 12 : place] and php["primary_id"][1] == whole[place]
    assert php["tokens"][2].tolist() == list(range(18, 30))
    assert php["primary_ids"][2].max() == 40 and set(php["new_ids"][2].tolist()) == {41, -1}
    assert (python["tokens"][0, python["position"][0] + 1 :] == trained.padding).all()
    for side in ("primary", "new"):
        assert all(slots[f"{side}_id"][n] in slots[f"{side}_ids"][n] for slots in (python, php) for n in range(2))

    sequence = read(path, trained, mode="sequence")["php"]
    assert trained.decode([i for i in sequence["new_sequence"][1] if i >= 0]) == " throw"
    assert [i for i in sequence["new_sequence"][2] if i >= 0] == [41, 42]
    prefix = read(path, trained, mode="prefix")["python"]
    assert set(prefix["new_ids"][0]) - {-1} == prompts.prefix_tokens("strlen", trained.pieces())


def test_slots_of_a_file_go_through_the_pass(tmp_path, trained):
    slots = read(write(tmp_path, GOOD, GOOD | {"language": "php", "text": "if name:\n"}), trained)
    with_one_id = {language: {name: values for name, values in one.items()} for language, one in slots.items()}
    measured = forward.measure(Subject(loud(CONFIG), CONFIG, batch_size=2), {}, with_one_id)
    assert measured.slots["php"].primary_log_prob_LxN.shape == (3, 1)


def test_names_in_further_languages_are_read_like_the_two(tmp_path, trained):
    names = {"names": {"go": "raise", "c": 41}}
    path = write(tmp_path, GOOD | names, GOOD | {"language": "php", "text": "for "} | {"names": {"go": "raise"}})
    slots = read(path, trained)
    python, php = slots["python"], slots["php"]
    for here in (python, php):
        assert np.array_equal(here["ids.python"][:, : here["primary_ids"].shape[1]], here["primary_ids"])
        assert np.array_equal(here["ids.php"][:, : here["new_ids"].shape[1]], here["new_ids"])
    assert set(python["ids.go"][0]) - {-1} == prompts.first_tokens("raise", trained)
    assert python["ids.c"].tolist() == [[41]] and php["ids.c"].tolist() == [[-1]]
    assert python["spaced"].tolist() == [0] and php["spaced"].tolist() == [1]
    assert slot_names.language_names(python).languages == ("c", "go", "php", "python")
    assert not any(name.startswith("ids.") for name in read(path, trained, mode="sequence")["php"])
    plain = read(write(tmp_path, GOOD, GOOD | {"language": "php"}), trained)["php"]
    assert slot_names.language_names(plain) is None


BAD = [
    (GOOD | {"names": ["go"]}, "'names' must be {language: identifier} of other languages than python and php"),
    (GOOD | {"names": {"php": "len"}}, "'names' must be {language: identifier} of other languages"),
    (GOOD | {"names": {"go": ""}}, "'names.go' is empty"),
    (GOOD | {"names": {"go": [V]}}, "token id 362 of 'names.go' is not in the vocabulary"),
    ('{"language": ', "not JSON"),
    ("[1, 2]", "not a JSON object"),
    (GOOD | {"languag": "php"}, "unknown field 'languag'; did you mean 'language'"),
    ({k: v for k, v in GOOD.items() if k != "new"}, "no 'new'"),
    (GOOD | {"language": "go"}, "language 'go' is not python or php"),
    (GOOD | {"tokens": [1]}, "either 'text' or 'tokens'"),
    ({k: v for k, v in GOOD.items() if k != "text"}, "either 'text' or 'tokens'"),
    (GOOD | {"text": ""}, "'text' is empty"),
    (GOOD | {"text": 5}, "'text' must be text"),
    (GOOD | {"primary": ""}, "'primary' is empty"),
    (GOOD | {"primary": []}, "'primary' must be token ids"),
    (GOOD | {"primary": True}, "'primary' must be token ids"),
    (GOOD | {"new": V}, "token id 362 of 'new' is not in the vocabulary of 362"),
    ({"language": "php", "tokens": [1, -2], "primary": 1, "new": 2}, "'tokens' must be token ids"),
    (GOOD | {"new": "lenient"}, "pair len/lenient rejected: both may begin with the token"),
    (GOOD | {"new": "len"}, "pair len/len rejected"),
    (GOOD | {"pair": ["a"]}, "'pair' must be a name or a number"),
    (GOOD | {"subset": 2}, "'subset' must be 0 or 1"),
    (GOOD | {"item": "a"}, "'item' must be a number"),
    (GOOD | {"item": 1}, "some lines have an 'item' and some have none"),
    (
        GOOD | {"text": "size = le", "primary": "n(name", "new": "strlen"},
        "the tokenizer cuts the end of 'text' otherwise",
    ),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_a_bad_line_is_named(tmp_path, trained, line, message):
    path = write(tmp_path, GOOD, GOOD | {"language": "php"}, line)
    with pytest.raises(UserError) as error:
        read(path, trained)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}, line 3: ")


def test_bad_files(tmp_path, trained):
    with pytest.raises(UserError, match="has no prompt in php"):
        read(write(tmp_path, GOOD), trained)
    with pytest.raises(UserError, match="cannot read .*absent.*give --prompts a file"):
        read(tmp_path / "absent", trained)
    with pytest.raises(UserError, match="line 1: 'text' is text and there is no tokenizer; give token ids"):
        read(write(tmp_path, GOOD), None)
    with pytest.raises(UserError, match="the tokenizer has 362 tokens and the model 48"):
        read(write(tmp_path, GOOD), trained, vocab_size=48)
    ids = {"tokens": [1, 2], "primary": 3, "new": 3}
    with pytest.raises(UserError, match="line 1: 3 and 3 begin with the same token"):
        read(write(tmp_path, ids | {"language": "php"}), None)
    slots = read(write(tmp_path, *(ids | {"language": name, "new": 4} for name in LANGUAGES)), None)
    assert slots["php"]["new_ids"].tolist() == [[4]] and slots["php"]["prompt"].tolist() == [1]
