"""Where code is, as Pygments finds it: an oracle for the marks of languages."""

import re

import pygments.lexers
from pygments.token import Comment, String

from babel_jax.languages.lexical import not_code


def is_not_code(text, record):
    """For each character of a text whether it stands in a comment or string, by ourselves and by Pygments; None where
    they mean different things by that: in preprocessor lines, holes of templates, prefixes and flags."""
    ours, theirs = [False] * len(text), [False] * len(text)
    for span in not_code(text, record):
        template = text[span.start] == "`"
        ours[span.start : span.end] = [None if template else True] * (span.end - span.start)
    for at, kind, part in pygments.lexers.get_lexer_by_name(record.name).get_tokens_unprocessed(text):
        if kind in Comment.Preproc or kind in Comment.PreprocFile or kind in String.Affix:
            ours[at : at + len(part)] = [None] * len(part)
        elif kind in Comment or kind in String:
            end = at + len(part.rstrip("dgimsuvy") if kind in String.Regex else part)
            begin = at + len(re.match(r"([brc]*)(?=#*\")|", part)[0])
            theirs[begin:end] = [True] * (end - begin)
    return ours, theirs


def share_that_differs(texts, record):
    different = total = 0
    for text in texts:
        ours, theirs = is_not_code(text, record)
        total += len(text)
        different += sum(
            a is not None and a != b and not c.isspace() for a, b, c in zip(ours, theirs, text, strict=True)
        )
    return different / total
