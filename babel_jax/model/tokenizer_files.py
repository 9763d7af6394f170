"""The files of a tokenizer in a Hugging Face folder: kept as they came with a model, or made from a tokenizer of ours.

A SentencePiece model becomes a tokenizer.json of the same pieces and merges. That both give the same ids is not taken for
granted: `of_tokenizer` compares them on hard texts and on texts of the corpus, and refuses where they differ.
"""

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping

import numpy as np
import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import decoders, normalizers, pre_tokenizers

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line
from babel_jax.corpus.tokenizer import HARD, SPACE, SentencePiece, Tokenizer

JSON, SETTINGS = "tokenizer.json", "tokenizer_config.json"
# What may lie beside a model's weights to say how text becomes tokens, and how tokens are drawn.
KEPT = (
    *(JSON, SETTINGS, "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "merges.txt"),
    *("chat_template.jinja", "chat_template.json", "generation_config.json"),
)
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")  # of config.json, but of the tokenizer
PIECE = sentencepiece_model_pb2.ModelProto.SentencePiece
SEPARATOR = "\t"  # between the words of an embedded world; some of them hold spaces


@dataclasses.dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as files by name, and its keys of config.json (`TOKENS`)."""

    contents: Mapping[str, bytes]
    tokens: Mapping[str, object]


def read(directory) -> dict[str, bytes]:
    """The files of `KEPT` that lie in a folder, by name.

    Raises:
      UserError: one cannot be read.
    """
    directory = files.path(directory)
    return {name: files.read_bytes(directory / name) for name in KEPT if (directory / name).exists()}


def write(directory, contents: Mapping[str, bytes]) -> None:
    """Writes such files into a folder, each atomically."""
    for name, content in contents.items():
        files.write_atomic(files.path(directory) / name, content)


def check_belongs(contents: Mapping[str, bytes], vocab_size: int, where: str) -> None:
    """Refuses a tokenizer that has ids which the model's table of embeddings has no rows for.

    Raises:
      UserError: it has; or its files are broken. `where`: which one it is, for the message.
    """
    try:
        ids = _most_ids(contents)
    except Exception as error:  # the tokenizers library raises nothing more special
        raise UserError(
            f"cannot read the tokenizer {where} ({one_line(error)}); copy the model's folder again."
        ) from error
    if ids > vocab_size:
        raise UserError(
            f"the tokenizer {where} has ids up to {ids - 1} and the model's table has {vocab_size} rows; give the model's "
            "own, or none."
        )


def _most_ids(contents: Mapping[str, bytes]) -> int:
    """One more than the largest id; 0: there is no tokenizer."""
    if JSON in contents:
        vocabulary = tokenizers.Tokenizer.from_str(contents[JSON].decode("utf-8-sig")).get_vocab(with_added_tokens=True)
        return 1 + max(vocabulary.values(), default=-1)
    added = files.parse_json(contents.get("added_tokens.json", b"{}"), {str: range(2**31)})
    ids = list(added.values())
    if "vocab.json" in contents:
        ids += files.parse_json(contents["vocab.json"], {str: range(2**31)}).values()
    elif "tokenizer.model" in contents:
        ids.append(sentencepiece.SentencePieceProcessor(model_proto=contents["tokenizer.model"]).vocab_size() - 1)
    return 1 + max(ids, default=-1)


# --- made from ours -----------------------------------------------------------------------------------------------------------


def of_tokenizer(tokenizer: Tokenizer, max_length: int, texts: Iterable[str]) -> TokenizerFiles:
    """The files that transformers' AutoTokenizer reads as a tokenizer of a corpus.

    Args:
      max_length: positions of the model.
      texts: what must become the same ids, beside hard texts of all kinds.

    Raises:
      UserError: it cannot be written as a tokenizer.json, or that gives other ids for a text, which the error quotes.
    """
    theirs = _converted(tokenizer) if isinstance(tokenizer, SentencePiece) else tokenizer.library()
    theirs.encode_special_tokens = True
    for text in (*HARD, *texts):
        if difference := _difference(tokenizer.encode(text), theirs, text):
            raise UserError(
                f"the corpus's tokenizer cannot be written as {JSON}: {difference}; export with --no_tokenizer."
            )
    return _files(theirs, max_length, tokenizer.document_end, tokenizer.padding)


def _files(theirs: tokenizers.Tokenizer, max_length: int, end: int | None, padding: int | None) -> TokenizerFiles:
    marks = {"eos_token": end, "pad_token": padding}
    marks = {name: theirs.id_to_token(i) for name, i in marks.items() if i is not None}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # a mark's name in a text is text
        **marks,
    }
    contents = {
        JSON: theirs.to_str(pretty=False),
        SETTINGS: json.dumps(settings, indent=2, ensure_ascii=False) + "\n",
        "special_tokens_map.json": json.dumps(marks, indent=2, ensure_ascii=False) + "\n",
    }
    tokens = {"bos_token_id": None, "eos_token_id": end, "pad_token_id": padding}
    return TokenizerFiles({name: text.encode() for name, text in contents.items()}, tokens)


def _difference(ids: np.ndarray, theirs: tokenizers.Tokenizer, text: str) -> str | None:
    found = theirs.encode(text, add_special_tokens=False).ids
    if found == ids.tolist():
        return None
    at = next(
        (i for i, (a, b) in enumerate(zip(ids.tolist(), found, strict=False)) if a != b), min(len(ids), len(found))
    )
    around = theirs.decode(ids[max(at - 2, 0) : at + 3].tolist(), skip_special_tokens=False)
    return f"it gives other ids for {around!r}"


def _converted(tokenizer: SentencePiece) -> tokenizers.Tokenizer:
    """A SentencePiece BPE as one of Hugging Face's library.

    SentencePiece joins the two neighbours whose whole has the best score; the library joins by a list of pairs, the first one
    first. Pairs of a whole stand where its score says.
    """
    proto = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.content)
    if proto.trainer_spec.model_type != proto.trainer_spec.BPE:
        raise UserError(
            f"the corpus's tokenizer is not a BPE and cannot be written as {JSON}; export with --no_tokenizer."
        )
    pieces = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    joined = {piece.piece: piece.score for piece in proto.pieces if piece.type == PIECE.NORMAL}
    merges = collections.defaultdict(list)
    for whole, score in joined.items():
        for cut in range(1, len(whole)):
            if whole[:cut] in joined and whole[cut:] in joined:
                merges[score].append((whole[:cut], whole[cut:]))
    ranked = [pair for score in sorted(merges, reverse=True) for pair in merges[score]]
    unknown = next(piece.piece for piece in proto.pieces if piece.type == PIECE.UNKNOWN)
    bytes_too = any(piece.type == PIECE.BYTE for piece in proto.pieces)
    theirs = tokenizers.Tokenizer(
        tokenizers.models.BPE(pieces, ranked, unk_token=unknown, fuse_unk=True, byte_fallback=bytes_too)
    )
    theirs.normalizer = normalizers.Replace(" ", SPACE)
    theirs.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    marks = [piece.piece for piece in proto.pieces if piece.type in (PIECE.CONTROL, PIECE.UNKNOWN)]
    theirs.add_special_tokens([tokenizers.AddedToken(mark, special=True, normalized=False) for mark in marks])
    # SentencePiece looks for these where spaces are written as SPACE already: one that holds a space is never found.
    symbols = [piece.piece for piece in proto.pieces if piece.type == PIECE.USER_DEFINED and " " not in piece.piece]
    theirs.add_tokens([tokenizers.AddedToken(symbol, normalized=True) for symbol in symbols])
    return theirs


def of_words(words: list[str], max_length: int) -> TokenizerFiles:
    """The files of a tokenizer whose tokens are given words, with `SEPARATOR` between them in a text.

    Raises:
      UserError: a word holds the separator, or stands there twice.
    """
    if len(set(words)) < len(words) or any(SEPARATOR in word or not word for word in words):
        raise UserError(f"the words of this world cannot be written as {JSON}: one is empty, double or holds a tab.")
    theirs = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0])
    )
    theirs.pre_tokenizer = pre_tokenizers.Split(SEPARATOR, "removed")
    theirs.decoder = decoders.Sequence(
        [decoders.Replace(tokenizers.Regex(r"\z"), SEPARATOR), decoders.Fuse(), decoders.Strip(SEPARATOR, 0, 1)]
    )
    return _files(theirs, max_length, None, None)
