"""How each language writes the embedded world's programs: sixteen primitives, one token frame, one real file.

The token stream is the same length and aligned in all languages; `render` turns it into a program that the language's
own tool runs. A further language is one more `Dialect`.
"""

import base64
import binascii
import codecs
import dataclasses
import hashlib
import html
import json
import re
import urllib.parse
import zlib
from collections.abc import Callable

from babel_jax.errors import unknown_name

# The world's own interpreter: what each primitive does to a string (ASCII in, ASCII out). Dialects must agree with it.
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


@dataclasses.dataclass(frozen=True)
class Dialect:
    """One language of the embedded world.

    `identifiers`: its name for each primitive, in the order of `PRIMITIVES`. `define` and `end` are the two tokens of
    the frame that are its own. `program` holds the real file, with {prelude}, {body} (the composed calls on the
    parameter) and {inputs}; it prints one result a line. `parameter` is how the parameter is written.
    """

    identifiers: tuple[str, ...]
    define: str
    end: str
    parameter: str
    program: str
    quote_inputs: Callable[[tuple[str, ...]], str]


DIALECTS = {
    "python": Dialect(
        identifiers=(
            "upper",
            "lower",
            "strip",
            "reversed",
            "title",
            "escape",
            "hexlify",
            "b64encode",
            "quote",
            "quote_plus",
            "rot13",
            "dumps",
            "md5",
            "sha1",
            "crc32",
            "adler32",
        ),
        define="def",
        end="<end>",
        parameter="x",
        program="""\
import base64, binascii, codecs, hashlib, html, json, re, urllib.parse, zlib
from urllib.parse import quote_plus
from json import dumps
upper, lower = str.upper, str.lower
strip = lambda x: x.strip(" ")
reversed = lambda x: x[::-1]
title = lambda x: re.sub(r"(^|(?<= ))[a-z]", lambda m: m[0].upper(), x)
escape = lambda x: html.escape(x).replace("&#x27;", "'")
hexlify = lambda x: binascii.hexlify(x.encode()).decode()
b64encode = lambda x: base64.b64encode(x.encode()).decode()
quote = lambda x: urllib.parse.quote(x, safe="")
rot13 = lambda x: codecs.encode(x, "rot13")
md5 = lambda x: hashlib.md5(x.encode()).hexdigest()
sha1 = lambda x: hashlib.sha1(x.encode()).hexdigest()
crc32 = lambda x: "%08x" % zlib.crc32(x.encode())
adler32 = lambda x: "%08x" % zlib.adler32(x.encode())

def f(x):
    return {body}

for value in {inputs}:
    print(f(value))
""",
        quote_inputs=lambda inputs: repr(inputs),
    ),
    "php": Dialect(
        identifiers=(
            "strtoupper",
            "strtolower",
            "trim",
            "strrev",
            "ucwords",
            "htmlspecialchars",
            "bin2hex",
            "base64_encode",
            "rawurlencode",
            "urlencode",
            "str_rot13",
            "json_encode",
            "md5",
            "sha1",
            "crc32",
            "adler32",
        ),
        define="function",
        end=";}",
        parameter="$x",
        program="""\
<?php
namespace world;
function trim($x) {{ return \\trim($x, ' '); }}
function ucwords($x) {{ return \\ucwords($x, ' '); }}
function htmlspecialchars($x) {{ return \\htmlspecialchars($x, ENT_COMPAT); }}
function json_encode($x) {{ return \\json_encode($x, JSON_UNESCAPED_SLASHES); }}
function crc32($x) {{ return \\hash('crc32b', $x); }}
function adler32($x) {{ return \\hash('adler32', $x); }}

function f($x) {{
    return {body};
}}

foreach ({inputs} as $value) {{
    echo f($value), "\\n";
}}
""",
        quote_inputs=lambda inputs: "[" + ", ".join("'" + text.replace("'", "\\'") + "'" for text in inputs) + "]",
    ),
}


def dialect_of(language: str) -> Dialect:
    """The dialect of a language by name; a `UserError` names the nearest known one."""
    if language not in DIALECTS:
        raise unknown_name("language of the embedded world", language, DIALECTS)
    return DIALECTS[language]


def render(language: str, outer: str, inner: str) -> str:
    """The real source file of the program `outer(inner(x))`, which prints its result for each test input.

    The identifiers are taken as they come: one that the language does not know gives a program that fails.
    """
    dialect = dialect_of(language)
    body = f"{outer}({inner}({dialect.parameter}))"
    inputs = dialect.quote_inputs(TEST_INPUTS)
    return dialect.program.format(body=body, inputs=inputs)
