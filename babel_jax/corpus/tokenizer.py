"""Text <-> token ids, exactly: SentencePiece BPE learnt from the corpus, or a given tokenizer that loses nothing."""

import contextlib
import functools
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import sentencepiece
import tokenizers

from babel_jax.common.errors import UserError, one_line, quoted
from babel_jax.common.files import content_hash, parse_json, read_bytes, write_atomic

UNKNOWN, BEGIN, END, PADDING = 0, 1, 2, 3
SENTENCE = 4000  # characters of a training piece, newlines kept
# What SentencePiece is asked for at once, and whose ids are kept to be used again: that is twice as fast as whole files.
WORD = re.compile(r"\s*\S+|\s+")
WORDS, LONGEST_WORD = 1 << 17, 64  # how many are kept, and of how many characters: about 30 MB
# Whitespace is syntax: runs of it are pieces of their own, so that indentation costs one token.
WHITESPACE = ["\n", "\t", "\n\n", *(" " * k for k in (2, 3, 4, 6, 8, 12, 16, 20, 24)), *("\t" * k for k in range(2, 7))]
SETTINGS = dict(
    model_type="bpe",
    byte_fallback=True,
    normalization_rule_name="identity",
    remove_extra_whitespaces=False,
    add_dummy_prefix=False,
    split_digits=True,
    allow_whitespace_only_pieces=True,
    character_coverage=0.998,
    max_sentence_length=16384,
    user_defined_symbols=WHITESPACE,
    unk_id=UNKNOWN,
    bos_id=BEGIN,
    eos_id=END,
    pad_id=PADDING,
    num_threads=1,  # is stored in the model file: another number, another file
    minloglevel=2,
)
SPACE = "\u2581"  # how SentencePiece writes a space; it reads this character as one and cannot give it back
# Behind a SentencePiece model: its field normalizer_spec.add_dummy_prefix (3.3) once more, as false, and the last one counts.
# Without it every text would begin with a space that it does not have.
NO_SPACE_BEFORE = b"\x1a\x02\x18\x00"
# What the published vocabularies call the end of a document; a tokenizer.json does not say which mark it is.
END_MARKS = (
    *("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<|end▁of▁sentence|>", "<｜end▁of▁sentence｜>"),
    *("<EOS_TOKEN>", "<EOS>", "[EOS]"),
)
SETTINGS_FILE = "tokenizer_config.json"
LARGEST_ID = 10_000_000  # no vocabulary has as many tokens; a larger id would cost memory for nothing
# What tokenizers lose where they lose text: whitespace, case, accents, ligatures, rare characters, what looks like a mark.
HARD = (
    *("", " ", "\n\n\n\t \r\n", "  leading and trailing  \n", " x", "x ", "\tx\t", "a\r\nb\rc\n", "\x00\x01\x1b\x7f"),
    "def f(x):\n    if x:\n\treturn  x ** 2   # no  normal   form\n" + "\n" * 7 + " " * 37 + "\t" * 9 + "end",
    *("MiXeD CaSe, \"quotes\", 'don't', it's, e.g. 3.14159 1_000_000 0xFFff.", "".join(map(chr, range(32, 127)))),
    "no-break\u00a0space, zero\u200bwidth, \ufeffmark, ﬁ ﬀ ½ ² Å Å, e\u0301 é, 漢字かなハﾊ 한국어 \u1112\u1161\u11ab العربية ไทย",
    "\U0001f642 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001d518 \U0010fffd",
    "\u2028\u2029\x85\x0b\x0c\u3000\u202e\ufffd",
    *(
        "<s> </s> <unk> <pad> <bos> <eos> <mask> [CLS] [SEP] [UNK] [PAD] [MASK] <0x0A> <0xE2> ⁇ ##x @@ </w> Ġ Ċ ċ",
        *END_MARKS[:2],
    ),
    "".join(
        chr(c) for c in (*range(0xA0, 0x3100), *range(0x3100, 0x20000, 61)) if not 0xD800 <= c < 0xE000 and c != 0x2581
    ),
)


class Tokenizer:
    """Text <-> token ids, of which nothing is lost: the bytes of a text are the bytes of its tokens put end to end.

    Attributes:
      vocab_size: V; ids are below it.
      document_end: the id that ends a document; no text has it, whatever stands in it.
      padding: the id that fills up prompts.
      marks: how its marks and other tokens that were added by hand are written.
      begin: the id that a model expects before a text, where `of_files` finds one; None: none, as with all tokenizers of corpora.
      file: what its file is called.
    """

    file: str
    begin: int | None = None

    def __init__(self, content: bytes, pieces: list[bytes], document_end: int, padding: int, marks: list[str]):
        self.content, self.marks = content, marks
        self.vocab_size = len(pieces)
        self.document_end, self.padding = document_end, padding
        self._pieces = pieces

    def encode(self, text: str) -> np.ndarray:
        """Token ids, int32 [n]."""
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; `decode(encode(text)) == text`. Bytes that are not UTF-8 become U+FFFD, marks nothing."""
        pieces = self._pieces
        return b"".join([pieces[i] for i in ids]).decode(errors="replace")

    def pieces(self) -> list[bytes]:
        """The bytes of text that each token stands for, in the order of ids: none for a mark."""
        return list(self._pieces)

    @functools.cached_property
    def token_bytes_V(self) -> np.ndarray:
        """How many bytes of text each token stands for, int32 [V]: 0 for a mark, 1 for a byte piece."""
        return np.array([len(piece) for piece in self._pieces], np.int32)

    @functools.cached_property
    def sha(self) -> str:
        """SHA-256 of its file, 16 hex digits: two tokenizers with the same one encode alike."""
        return content_hash(self.content)

    def save(self, directory: Path) -> None:
        """Writes its file into a folder, where `load` finds it."""
        write_atomic(Path(directory, self.file), self.content)


class SentencePiece(Tokenizer):
    """A SentencePiece model. The one character that it cannot give back is U+2581, which it reads as a space."""

    file = "tokenizer.model"

    def __init__(self, content: bytes):
        self._processor = processor = sentencepiece.SentencePieceProcessor(model_proto=content + NO_SPACE_BEFORE)
        names = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
        marks = [
            i for i in range(len(names)) if processor.is_control(i) or processor.is_unknown(i) or processor.is_unused(i)
        ]
        pieces = [_fallback_bytes(name, processor.is_byte(i)) for i, name in enumerate(names)]
        for i in marks:
            pieces[i] = b""
        end = processor.eos_id()
        if end < 0:
            raise UserError("it has no token that ends a document; train it with an eos_id.")
        self.begin_id = processor.bos_id()
        padding = processor.pad_id() if processor.pad_id() >= 0 else end
        super().__init__(content, pieces, end, padding, [names[i] for i in marks])
        # BPE, whose scores are the ranks of its merges, joins what stands side by side by rank alone. Where no piece goes on
        # from a word into the whitespace behind it, nothing is joined across, and the ids of a text are those of its words.
        ranked = all(processor.get_score(i).is_integer() for i in range(len(names)))
        crossing = re.compile(r"\S\s")
        self._by_words = ranked and not any(crossing.search(name.replace(SPACE, " ")) for name in names)
        self._ids_of_word: dict[str, bytes] = {}

    def encode(self, text: str) -> np.ndarray:
        if not self._by_words:
            return self._processor.encode_as_numpy(text)
        words, known = WORD.findall(text), self._ids_of_word
        if len(known) > WORDS:
            known.clear()
        if new := [word for word in dict.fromkeys(words) if word not in known]:
            known.update(
                zip(new, map(np.ndarray.tobytes, self._processor.encode_as_numpy(new, num_threads=1)), strict=True)
            )
        ids = np.frombuffer(bytearray().join(map(known.__getitem__, words)), np.int32)
        for word in new:
            if len(word) > LONGEST_WORD:
                del known[word]
        return ids


class HuggingFace(Tokenizer):
    """A Hugging Face tokenizer.json whose tokens are made of bytes: byte-level, or with a token for every byte."""

    file = "tokenizer.json"

    def __init__(self, content: bytes, end: int | None = None):
        """`end`: the id that its model's config says ends a text, for a vocabulary with several known ends or with none."""
        settings = _checked(parse_json(content.decode("utf-8-sig")))
        _take_text_as_it_is(settings)
        self._tokenizer = model = tokenizers.Tokenizer.from_str(json.dumps(settings))
        model.no_padding()
        model.no_truncation()
        model.encode_special_tokens = True  # a mark's name in a text is text
        added = model.get_added_tokens_decoder()
        ids = model.get_vocab(with_added_tokens=True)
        ends = [ids[mark] for mark in END_MARKS if mark in ids and ids[mark] in added and added[ids[mark]].special]
        if end in ends or (not ends and end in added and added[end].special):
            ends = [end]
        if not ends:
            raise UserError(
                f"it has no special token that ends a document; add one of {', '.join(END_MARKS[:4])} as a special token."
            )
        spelling = _spelling(settings)
        if max(ids.values()) > LARGEST_ID:
            raise UserError(f"a token of it has the id {max(ids.values())}; number them from 0 on, without gaps.")
        pieces = [b""] * (max(ids.values()) + 1)
        for token, i in ids.items():
            if i not in added:
                pieces[i] = spelling(token)
            elif not added[i].special:
                pieces[i] = token.encode()
        super().__init__(content, pieces, ends[0], ends[0], [token.content for token in added.values()])

    def library(self) -> tokenizers.Tokenizer:
        """What gives the same ids, as an object of the library, and a new one."""
        return tokenizers.Tokenizer.from_str(self._tokenizer.to_str())

    def encode(self, text: str) -> np.ndarray:
        with _understood(f"cannot encode a text by {self.file}"):
            return np.array(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids, np.int32)


def _fallback_bytes(token, is_byte):
    """The bytes of a token in vocabularies that write a space as U+2581 and a byte as <0x0A>."""
    return bytes([int(token[3:5], 16)]) if is_byte else token.replace(SPACE, " ").encode()


def _checked(settings: dict) -> dict:
    """What a tokenizer.json holds, if its parts are of the kinds that are read here. ValueError: they are not."""
    if not isinstance(settings.get("model"), dict):
        raise ValueError(f"its model is {quoted(settings.get('model'))}, not an object")
    for name in ("normalizer", "pre_tokenizer"):
        if not isinstance(settings.get(name), dict | None):
            raise ValueError(f"its {name} is {quoted(settings[name])}, not an object")
    return settings


def _parts(settings):
    """All objects that have a type within a part of a tokenizer.json: each normaliser and pre-tokenizer of a sequence."""
    if isinstance(settings, dict):
        if "type" in settings:
            yield settings
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            if isinstance(value, dict | list):
                yield from _parts(value)


def _take_text_as_it_is(settings) -> None:
    """Turns off what puts a space before a text that has none there, what draws by chance, and Unicode's composition.

    NFC stands in many byte-level tokenizers; without it only texts that are not composed get other tokens, and come back.
    """
    settings["normalizer"] = _without(settings.get("normalizer"), ("NFC", "Prepend"))
    for part in _parts([settings["normalizer"], settings.get("pre_tokenizer")]):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
            part.pop("add_prefix_space", None)  # what older files say instead
        elif "add_prefix_space" in part:
            part["add_prefix_space"] = False
    if "dropout" in settings["model"]:
        settings["model"]["dropout"] = None


def _without(normalizer, kinds: tuple[str, ...]):
    """A normaliser, or a sequence of them in each other, without those of the given kinds; None where nothing is left.

    They are taken out whole: a Prepend of nothing is still one, whose offsets the library's ByteLevel then looks up and
    does not find.
    """
    if not isinstance(normalizer, dict) or normalizer.get("type") in kinds:
        return None if isinstance(normalizer, dict) else normalizer
    if isinstance(normalizer.get("normalizers"), list):
        parts = [_without(part, kinds) for part in normalizer["normalizers"]]
        return normalizer | {"normalizers": [part for part in parts if part is not None]}
    return normalizer


def _spelling(settings):
    """The function token -> bytes of a tokenizer.json."""
    kinds = {part["type"] for part in _parts([settings.get("normalizer"), settings.get("pre_tokenizer")])}
    if "ByteLevel" in kinds:
        byte_of = _byte_level()
        return lambda token: bytes(byte_of[c] for c in token) if all(c in byte_of for c in token) else token.encode()
    if settings["model"].get("byte_fallback"):
        return lambda token: _fallback_bytes(token, re.fullmatch("<0x[0-9A-F]{2}>", token))
    raise UserError("its tokens are not made of bytes, so that it cannot spell every text; take a byte-level one.")


def _byte_level():
    """How byte-level vocabularies write bytes: printable Latin-1 as itself, the others in their order from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def load(place: Path) -> Tokenizer:
    """Reads a SentencePiece model or a Hugging Face tokenizer.json, and proves that it gives back hard texts exactly.

    What a tokenizer puts before a text (a space, a mark of its begin) is left out.

    Args:
      place: the file, or a folder that holds it as tokenizer.model or tokenizer.json.

    Raises:
      UserError: none is there, or it is broken, has no token that ends a document, or loses text.
    """
    place = Path(place)
    if place.is_dir():
        files = [place / kind.file for kind in (SentencePiece, HuggingFace) if (place / kind.file).exists()]
        if len(files) != 1:
            raise UserError(
                f"{place} holds {'two tokenizers' if files else 'no tokenizer.model and no tokenizer.json'}; name the file."
            )
        place = files[0]
    content = read_bytes(place, "check the path of the tokenizer.")
    return _proven(content, str(place), "take one that loses nothing, such as a byte-level one.")


def _proven(content: bytes, place: str, instead: str, **how) -> Tokenizer:
    """The tokenizer of a file's content. `place`, `instead`: for errors, the file and what to do where it loses text."""
    kind = HuggingFace if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else SentencePiece
    with _hushed(), _understood(f"cannot read {place} as a {kind.__name__} tokenizer"):
        try:
            tokenizer = kind(content, **(how if kind is HuggingFace else {}))
            texts = (*HARD, *(text for mark in tokenizer.marks for text in (mark, f"x {mark} {mark}\ty")))
            reason = next(filter(None, (_loss(tokenizer, text) for text in texts)), None)
        except UserError as error:
            raise UserError(f"{place} cannot be used: {error}") from error
    if reason:
        raise UserError(f"{place} cannot be used: {reason}; {instead}")
    return tokenizer


def of_files(contents: Mapping[str, bytes], eos: object = None, where: str = "its tokenizer") -> Tokenizer:
    """The tokenizer of a foreign model, from files that lie beside its weights: tokenizer.json, else tokenizer.model.

    Args:
      contents: files by name.
      eos: what config.json says of `eos_token_id`: an id, a list of them, or None.
      where: what errors call the place of the files.

    Returns:
      With `begin` as the model's own library would put it before a text.

    Raises:
      UserError: there is none of the two, or it is broken or loses text.
    """
    file = next((kind.file for kind in (HuggingFace, SentencePiece) if kind.file in contents), None)
    if file is None:
        raise UserError(
            f"{where} holds no {HuggingFace.file} and no {SentencePiece.file}; have transformers' AutoTokenizer save one there, "
            "or give prompts of token ids."
        )
    end = eos[0] if isinstance(eos, list) and eos else eos
    tokenizer = _proven(
        contents[file],
        f"{where}/{file}",
        "its texts cannot be measured in bits per byte; give prompts of token ids.",
        end=end if isinstance(end, int) else None,
    )
    with _understood(f"cannot read {where}/{SETTINGS_FILE}"):
        says = json.loads(contents.get(SETTINGS_FILE, b"{}"))  # as it is: its model_max_length may have 31 digits
        tokenizer.begin = _begin(tokenizer, says if isinstance(says, dict) else {})
    return tokenizer


def _begin(tokenizer, says: dict) -> int | None:
    """The mark that a model's library puts before a text. `says`: its tokenizer_config.json, which counts before the file."""
    if says.get("add_bos_token") is False:
        return None
    if isinstance(tokenizer, SentencePiece):
        begin = tokenizer.begin_id
        return begin if begin >= 0 else None
    plain = tokenizers.Tokenizer.from_str(tokenizer.content.decode("utf-8-sig"))
    marked = plain.encode("x").ids
    if marked[0] in plain.get_added_tokens_decoder() and marked != plain.encode("x", add_special_tokens=False).ids:
        return marked[0]
    name = says.get("bos_token")
    name = name.get("content") if isinstance(name, dict) else name
    return plain.token_to_id(name) if says.get("add_bos_token") and isinstance(name, str) else None


@contextlib.contextmanager
def _understood(what: str) -> Iterator[None]:
    """Turns what the libraries raise into a `UserError`, even panics of Rust, which are not an `Exception`."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:  # the tokenizers library raises nothing more special
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UserError(f"{what} ({one_line(error)}); give a whole one.") from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Drops what is written to stderr meanwhile: a panic prints its whole stack there before it becomes an exception."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _loss(tokenizer, text) -> str | None:
    """What is wrong with how a text comes back, or None."""
    back = tokenizer.decode(tokenizer.encode(text))
    if back == text:
        return None
    at = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
    return f"it loses text: {text[at : at + 20]!r} comes back as {back[at : at + 20]!r}"


def sentences(text: str) -> Iterator[str]:
    """A document as training pieces of at most SENTENCE characters, cut behind a newline where there is one."""
    start = 0
    while start < len(text):
        end = start + SENTENCE
        if end < len(text):
            end = text.rfind("\n", start, end) + 1 or end
        yield text[start:end]
        start = end


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A BPE tokenizer learnt from texts, which are all held in memory: give a sample of bounded size.

    Raises:
      UserError: the texts are too few for a vocabulary of this size, or the size is too small for their characters.
    """
    model = io.BytesIO()
    pieces = (piece for text in texts for piece in sentences(text))
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=pieces, model_writer=model, vocab_size=vocab_size, **SETTINGS
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2].strip() or str(error)
        raise UserError(f"cannot make a vocabulary of {vocab_size} ({reason}); choose another --vocab_size.") from error
    return SentencePiece(model.getvalue())
