"""Manual pages in man(7): the text of their paragraphs, without what stands as it is (.nf, .EX) and tables.

The requests and escapes are those of groff(7) that pages use; what a page defines of its own is not carried out. Pages in
mdoc(7), a few BSD ones, count as empty: their sentences are made of macros.
"""

import re
import unicodedata
from collections.abc import Iterator

from babel_jax.corpus.readers.prose_files import Paragraphs, names, prose_reader


def _pairs(text):
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# What opens a stretch that is left out -> what closes it.
LEFT_OUT = _pairs("nf fi EX EE TS TE EQ EN PS PE Vb Ve de . de1 . am . ig .")
BREAKS = names("PP P LP HP IP TP TQ RS RE TH br sp ti in ce")
HEADINGS = names("SH SS")
JOINED = names("BR RB BI IB IR RI")  # fonts take turns, without spaces between
SPACED = names("B I R SM SB")
_GLYPHS = _pairs(
    "aq ' cq ’ oq ‘ lq “ rq ” dq \" Bq „ bq ‚ Fo « Fc » fo ‹ fc › em — en – hy - mi - bu • co © rg ® tm ™ -> → <- ← ha ^ "
    "ti ~ ga ` rs \\ bv | sl / at @ sh # Do $ Eu € de ° mu × di ÷ +- ± <= ≤ >= ≥ != ≠ ss ß ae æ AE Æ oe œ OE Œ /o ø /O Ø "
    "r! ¡ r? ¿ sc § ps ¶ 12 ½ 14 ¼ 34 ¾ *m μ lB [ rB ] lC { rC } la ⟨ ra ⟩ ba | ul _ or | ** * pl + eq ="
)
_STRINGS = _pairs("lq “ rq ” L\" “ R\" ” Lq “ Rq ” C' ' C` ` -- — R ®")
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", ":": "\u0308", "~": "\u0303", ",": "\u0327", "o": "\u030a"}
_ESCAPE = re.compile(
    r"\\(?:"
    r"[fFmMgkRVYO](?:\[[^\]\n]*\]|\(..|.)"  # fonts, colours, registers
    r"|n[+-]?(?:\[[^\]\n]*\]|\(..|.)"
    r"|s(?:[+-]?\d\d?|\[[^\]\n]*\]|[+-]?'[^'\n]*')"
    r"|[hvwbDlLoXNxZABSH]'[^'\n]*'"
    r"|\*(?:\[(?P<string>[^\]\n]*)\]|\((?P<string2>..)|(?P<string1>.))"
    r"|\[(?P<glyph>[^\]\n]*)\]|\((?P<glyph2>..)|C'(?P<glyph1>[^'\n]*)'"
    r"|(?P<one>.)|$)"
)
_ONE = {" ": " ", "~": " ", "0": " ", "t": " ", "e": "\\", "\\": "\\", "-": "-", ".": ".", "'": "'", "`": "`", "_": "_"}
_REQUEST = re.compile(r"[.']\s*([^\s\\]*)\s*(.*)", re.DOTALL)
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)(?:"|$)|((?:[^\s\\]|\\.?)+)')
_MDOC = re.compile(r"^\.Dd\b", re.MULTILINE)
_MARKS = re.compile(r"[.,:;()\[\]?!]+$")


def paragraphs(text: str) -> Paragraphs:
    """("", text) of the paragraphs of a page, headings and the terms of lists among them."""
    parts: list[str] = []
    for part in () if _MDOC.search(text) else _parts(_lines(text)):
        if part is not None and parts and _MARKS.fullmatch(part):
            parts[-1] += part
        elif part is not None:
            parts.append(part)
        elif parts:
            yield "", " ".join(parts)
            parts = []
    yield "", " ".join(parts)


def _lines(text: str) -> Iterator[str]:
    """Lines of input without comments and without what is left out; those that go on behind a backslash as one."""
    closing, depth, held = None, 0, ""
    for line in text.splitlines():
        line, held = held + line, ""
        if line.endswith("\\") and not line.endswith("\\\\"):
            held = line[:-1]
            continue
        request = _REQUEST.match(line)
        name = request[1] if request else ""
        if closing is not None:
            if name == closing:
                closing = None
        elif depth:  # of what holds on a condition
            depth = max(0, depth + line.count("\\{") - line.count("\\}"))
        elif name in ("if", "ie", "el", "while"):
            depth = max(0, line.count("\\{") - line.count("\\}"))
        elif name in LEFT_OUT:
            closing = LEFT_OUT[name]
            yield ".br"
        else:
            yield re.sub(r'(?<!\\)\\["#].*', "", line)


def _parts(lines: Iterator[str]) -> Iterator[str | None]:
    """Pieces of text, each a line's; None where a paragraph ends."""
    is_term = False  # the next text is the term of a list, and a paragraph of its own
    for line in lines:
        request = _REQUEST.match(line)
        if request is None:
            if not line.strip():
                yield None
            elif text := plain(line):
                yield text
        elif request[1] in BREAKS or request[1] in HEADINGS:
            yield None
            if request[1] in HEADINGS:
                yield _text_of(request)
                yield None
            is_term = request[1] == "TP"
            continue
        elif text := _text_of(request):
            yield text
        else:
            continue
        if is_term:
            yield None
            is_term = False


def _text_of(request: re.Match) -> str:
    """What a macro's arguments say; "" of requests that say nothing."""
    name, rest = request[1], request[2]
    if name in ("", "\\"):
        return ""
    arguments = [
        plain(quoted.replace('""', '"') if quoted or not bare else bare) for quoted, bare in _ARGUMENT.findall(rest)
    ]
    if name in JOINED:
        return "".join(arguments)
    if name in SPACED or name in HEADINGS:
        return " ".join(arguments)
    if name in ("UR", "MT"):
        return arguments[0] if arguments else ""
    if name in ("UE", "ME", "YS"):
        return "".join(arguments[:1])
    return ""


def plain(line: str) -> str:
    """A line without its escapes."""
    return _ESCAPE.sub(_escaped, line) if "\\" in line else line


def _escaped(match: re.Match) -> str:
    if (one := match["one"]) is not None:
        return _ONE.get(one, "")
    string = match["string"] or match["string2"] or match["string1"]
    if string is not None:
        return _STRINGS.get(string, "")
    return _glyph(match["glyph"] or match["glyph2"] or match["glyph1"] or "")


def _glyph(name: str) -> str:
    if name in _GLYPHS:
        return _GLYPHS[name]
    if re.fullmatch(r"u[0-9A-Fa-f]{4,5}(_[0-9A-Fa-f]{4,5})*", name):
        return "".join(chr(int(code, 16)) for code in name[1:].split("_"))
    if len(name) == 2 and name[0] in _ACCENTS and name[1].isalpha():
        return unicodedata.normalize("NFC", name[1] + _ACCENTS[name[0]])
    if len(name) == 2 and name[1] in _ACCENTS and name[0].isalpha():
        return unicodedata.normalize("NFC", name[0] + _ACCENTS[name[1]])
    return ""


ENDINGS = tuple(f".{section}{packed}" for section in range(1, 10) for packed in ("", ".gz", ".bz2", ".xz"))
READER = prose_reader("man", ENDINGS, paragraphs)
