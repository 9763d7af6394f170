"""What a concept word can stand for: sixteen functions of strings, and the meaning of their compositions."""

import base64
import binascii
import codecs
import functools
import hashlib
import html
import json
import re
import urllib.parse
import zlib
from collections.abc import Callable

import numpy as np

# The world's own interpreter: what each primitive does to a string (printable ASCII in and out). Preludes must agree with it.
PRIMITIVES: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "strip spaces": lambda s: s.strip(" "),
    "reverse": lambda s: s[::-1],
    "capitals": lambda s: re.sub(r"(^|(?<= ))[a-z]", lambda m: m[0].upper(), s),
    "escape markup": lambda s: html.escape(s, quote=False).replace('"', "&quot;"),
    "hexadecimal": lambda s: binascii.hexlify(s.encode()).decode(),
    "base 64": lambda s: base64.b64encode(s.encode()).decode(),
    "url path": lambda s: urllib.parse.quote(s, safe=""),
    "url form": lambda s: urllib.parse.quote_plus(s),
    "rotate letters": lambda s: codecs.encode(s, "rot13"),
    "json": json.dumps,
    "md5": lambda s: hashlib.md5(s.encode()).hexdigest(),
    "sha1": lambda s: hashlib.sha1(s.encode()).hexdigest(),
    "crc32": lambda s: f"{zlib.crc32(s.encode()):08x}",
    "adler32": lambda s: f"{zlib.adler32(s.encode()):08x}",
}

# What programs are run on. Chosen so that different compositions give different results wherever they mean different things.
TEST_INPUTS = ("  Ab c <d> & Ef ", 'say "Hi/ho", jOhn 7', " zebra=0 Quick; brown_fox ")

SAMPLE = "So, <3 zip & 4 Wax> "  # what a call is made with: each function gives another text


def returned() -> list[str]:
    """What each primitive gives for the sample, as a literal."""
    return [json.dumps(function(SAMPLE)) for function in PRIMITIVES.values()]


def results(outer: int, inner: int, inputs: tuple[str, ...] = TEST_INPUTS) -> list[str]:
    """What the composition of two primitives gives for each input."""
    functions = list(PRIMITIVES.values())
    return [functions[outer](functions[inner](text)) for text in inputs]


@functools.lru_cache(maxsize=1)
def meanings() -> np.ndarray:
    """A number for each composition of two primitives [16, 16]; equal numbers: equal results on all test inputs."""
    numbers = {}
    meaning_FxF = np.zeros((len(PRIMITIVES),) * 2, np.int64)
    for outer, inner in np.ndindex(meaning_FxF.shape):
        meaning_FxF[outer, inner] = numbers.setdefault(tuple(results(outer, inner)), len(numbers))
    return meaning_FxF


def same_meaning(fact_Nx2: np.ndarray, other_Nx2: np.ndarray) -> np.ndarray:
    """Whether two compositions (outer and inner primitive, by number) mean the same, [N]."""
    meaning_FxF = meanings()
    return meaning_FxF[fact_Nx2[..., 0], fact_Nx2[..., 1]] == meaning_FxF[other_Nx2[..., 0], other_Nx2[..., 1]]
