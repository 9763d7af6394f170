"""SentencePiece BPE, set so that every document that passed the filters comes back exactly."""

import functools
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import sentencepiece

from babel_jax.errors import UserError
from babel_jax.files import write_atomic

UNKNOWN, BEGIN, END, PADDING = 0, 1, 2, 3
SENTENCE = 4000  # characters of a training piece, newlines kept
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


class Tokenizer:
    """Text <-> token ids. `document_end` is the id that ends a document, `padding` the one that fills up prompts."""

    document_end = END
    padding = PADDING

    def __init__(self, model: bytes):
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size = self._processor.vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Token ids, int32 [n]."""
        return np.array(self._processor.encode(text), np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; `decode(encode(text)) == text` unless the text holds U+2581."""
        return self._processor.decode([int(i) for i in ids])

    def pieces(self) -> list[str]:
        """The vocabulary, in the order of ids."""
        return [self._processor.id_to_piece(i) for i in range(self.vocab_size)]

    @functools.cached_property
    def sha(self) -> str:
        """SHA-256 over pieces and scores, 16 hex digits: two tokenizers with the same one encode alike."""
        scores = [self._processor.get_score(i) for i in range(self.vocab_size)]
        return hashlib.sha256(repr(list(zip(self.pieces(), scores, strict=True))).encode()).hexdigest()[:16]

    @functools.cached_property
    def token_bytes_V(self) -> np.ndarray:
        """How many bytes of text each token stands for, int32 [V]: 0 for the marks, 1 for a byte piece."""
        processor = self._processor

        def length(i):
            if processor.is_control(i) or processor.is_unknown(i):
                return 0
            return 1 if processor.is_byte(i) else len(processor.id_to_piece(i).replace("\u2581", " ").encode())

        return np.array([length(i) for i in range(self.vocab_size)], np.int32)

    def save(self, path: Path) -> None:
        write_atomic(path, self.model)


def load(path: Path) -> Tokenizer:
    """Reads a tokenizer; a missing or broken file is a `UserError`."""
    try:
        return Tokenizer(Path(path).read_bytes())
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot read {path} as a SentencePiece model ({error}); build the corpus again.") from error


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
    return Tokenizer(model.getvalue())
