"""The languages that come with the package beyond Python, PHP, C#, Go and C++: what is code, and pairs of built-ins."""

import builtins
import keyword
import os
import random
import re
from pathlib import Path

import pygments
import pytest
from helpers import shipped
from helpers.lexers import share_that_differs

from babel_jax.corpus import build, call_sites, manifest
from babel_jax.languages.lexical import Scanner, code_and_end, code_only, not_code
from babel_jax.languages.registry import LANGUAGES, language

FURTHER = ("javascript", "typescript", "java", "c", "rust")
each_language = pytest.mark.parametrize("name", FURTHER)

# Text -> what of it is not code.
SLASHES = {
    r"""a = b / c / d; e = /[/"]'\/`/gi + 1""": [r"""/[/"]'\/`/"""],
    "x = a++ / 2; y = (b) / 3 / c[0] / d; z = 1. / 2; x = y\n/ c / d": [],
    "return /'/.test(s) ? typeof /\"/ : [/`/, !/`/]": ["/'/", '/"/', "/`/", "/`/"],
    "x = // it's\n /* more */ /'/; y": ["// it's", "/* more */", "/'/"],
    "a /* it's */ / b / '/'": ["/* it's */", "'/'"],
    "/^a/.test(b) && /[^]/]/": ["/^a/", "/[^]/"],
    "<br/>; <a href={b} />; '</p>'": ["'</p>'"],
    "x = /'\ny = 'a'": ["/'", "'a'"],
}
TEMPLATES = {
    "a(`b ${c + `d ${'}'} e` + {f: 1}.f /* } ` */} g` + h)": ["`b ${c + `d ${'}'} e` + {f: 1}.f /* } ` */} g`"],
    "`a ${x ? '}' : \"`\"} b` + c": ["`a ${x ? '}' : \"`\"} b`"],
    "`$${a}$` + `\\`${b // }\n}` + `{c}`": ["`$${a}$`", "`\\`${b // }\n}`", "`{c}`"],
    "`${a.replace(/[}`]/g, '')}` / 2": ["`${a.replace(/[}`]/g, '')}`"],
    "`${a ? 1 : '}`'}` + b": ["`${a ? 1 : '}`'}`"],
    "`open ${a": ["`open ${a"],
}
QUOTES = {
    "#!/usr/bin/env node\nx('a')": ["#!/usr/bin/env node", "'a'"],
    "'it\\'s' + \"a\\\n b\" + 'open\nnext": ["'it\\'s'", '"a\\\n b"', "'open"],
    "a // b /* c\nd /* e // f */ g": ["// b /* c", "/* e // f */"],
    'a = "b\n  c = d;': ['"b'],
}
NOT_CODE = {
    "javascript": SLASHES | TEMPLATES | QUOTES,
    "typescript": SLASHES
    | TEMPLATES
    | QUOTES
    | {"let a = <T>/x'/; f<B>('c'); type D = `e${F}`; x! as string": ["/x'/", "'c'", "`e${F}`"]},
    "java": {
        'a = """\n  b "c" \\""" d\n  """ + "e"; // it\'s': ['"""\n  b "c" \\""" d\n  """', '"e"', "// it's"],
        "c = '\\'' + '\"' + \"\\\"\" + \"\" + '\\u0041'; i = 1_000 / 2": ["'\\''", "'\"'", '"\\""', '""', "'\\u0041'"],
        "/** a * / ' */ b /* /* c */ d */": ["/** a * / ' */", "/* /* c */"],
        '@A("b") List<C<D>> e = f::g; h("i\n j = \'k\n l': ['"b"', '"i', "'k"],
    },
    "c": {
        "s = \"a\\\n// b\" \"c\"; x = '\"' + L'\\'' / 2; /* d */ // e": [
            '"a\\\n// b"',
            '"c"',
            "'\"'",
            "'\\''",
            "/* d */",
            "// e",
        ],
        "#include <a//b.h>\n#if 0 // it's\n#error it's not\nx = 'a'": ["//b.h>", "// it's", "'s not", "'a'"],
        "x = 1'000 + 'a' + 0xA'B; y = a */* b */ c": ["'a'", "/* b */"],
        'a = "b\n  c = d;': ['"b'],
    },
    "rust": {
        "fn f<'a, 'b: 'a>(x: &'a str) -> &'static str { 'c: loop { break 'c } }": [],
        "['a', '\\'', '\"', '\\u{1F}', b'x', '/', ' ', 'ß', '\\\\']": [
            *("'a'", "'\\''", "'\"'", "'\\u{1F}'", "'x'", "'/'", "' '", "'ß'", "'\\\\'"),
        ],
        'a = r#"b "c" // d"# + r"e\\" + br##"f"# g"## + "h\\"" + r#type + "i': [
            *('#"b "c" // d"#', '"e\\"', '##"f"# g"##', '"h\\""', '"i'),
        ],
        'a = r"b\n\\" + br"c" + x': ['"b\n\\"', '"c"'],
        "/* a /* b */ c */ d /** e */ // f 'g\nh": ["/* a /* b */ c */", "/** e */", "// f 'g"],
        '#[doc = "a"] #![b] x("c\n d", c"e")': ['"a"', '"c\n d"', '"e"'],
    },
}


@pytest.mark.parametrize(
    ("name", "text", "want"), [(name, text, want) for name, texts in NOT_CODE.items() for text, want in texts.items()]
)
def test_comments_and_strings_are_found_in_a_text_whole_and_in_pieces(name, text, want):
    def texts(spans):
        return [text[span.start : span.end] for span in spans]

    assert texts(not_code(text, language(name))) == want
    for size in range(1, len(text)):
        scanner, spans = Scanner(language(name)), []
        for begin in range(0, len(text), size):
            scanner.text += text[begin : begin + size]
            spans += scanner.scan(final=False)
        assert texts([*spans, *scanner.scan(final=True)]) == want, size


def test_what_a_compiler_of_c_reads_as_one_line_is_one():
    code, open_at_end = code_and_end("int a; // b \\\n c\nint d; /", language("c"))
    assert code.split() == ["int", "a;", "int", "d;", "/"] and not open_at_end


@each_language
def test_pygments_finds_the_same_comments_and_strings(name):
    assert share_that_differs([shipped.PROGRAMS[name]], language(name)) == 0


@pytest.mark.parametrize(("name", "endings"), [("c", ("*.c", "*.h")), ("javascript", ("*.js",))])
def test_pygments_finds_the_same_in_files_of_packages_at_hand(name, endings):
    folder = Path(pygments.__file__).parents[1]
    files = sorted(path for ending in endings for path in folder.rglob(ending) if path.stat().st_size < 20_000)
    if not files:
        pytest.skip(f"no file in {LANGUAGES[name].title} lies beside Pygments")
    chosen = random.Random(0).sample(files, min(40, len(files)))
    texts = [path.read_text("utf-8", errors="replace").replace("\r\n", "\n") for path in chosen]
    assert share_that_differs(texts, language(name)) < 0.002


# Reserved words and names of types and values of each language's reference; none may be the name of Python's built-in.
WORDS = {
    "javascript": "await break case catch class const continue debugger default delete do else enum export extends false "
    "finally for function if implements import in instanceof interface let new null package private protected public return "
    "static super switch this throw true try typeof undefined var void while with yield NaN Infinity",
    "typescript": "abstract any as asserts boolean declare enum infer interface is keyof module namespace never number "
    "object override readonly satisfies string symbol type undefined unique unknown",
    "java": "abstract assert boolean break byte case catch char class const continue default do double else enum extends "
    "false final finally float for goto if implements import instanceof int interface long native new null package private "
    "protected public return short static strictfp super switch synchronized this throw throws transient true try void "
    "volatile while",
    "c": "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false "
    "NULL remove rename read write open close time signal system abort raise",
    "rust": "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move "
    "mut pub ref return self Self static struct super trait true type unsafe use where while bool char f32 f64 i8 i16 i32 "
    "i64 isize str u8 u16 u32 u64 usize Some None Ok Err Vec String Box Option Result",
}
WORDS["typescript"] += " " + WORDS["javascript"]
NOT_PYTHON = {*dir(builtins), *keyword.kwlist, *keyword.softkwlist}


@each_language
def test_at_least_twenty_pairs_with_python_tell_the_languages_apart(name):
    pairs = language(name).pairs["python"]
    assert len(pairs) >= 20
    foreign = set(WORDS[name].split())
    for here, there in pairs:
        assert len(os.path.commonprefix([here.text.lower(), there.text.lower()])) < 2, (here, there)
        assert here.text not in foreign, here
        assert there.text not in NOT_PYTHON, there


@each_language
def test_the_miner_finds_every_identifier_of_the_pairs_in_a_program(name):
    for pair in language(name).pairs["python"]:
        for side, identifier in zip(("python", name), pair, strict=True):
            record, text = language(side), shipped.PROGRAMS[side]
            places = call_sites.sites(code_only(text, record), identifier, record)
            assert places and all(text[place:].startswith(identifier.text) for place in places), identifier


# A use that is not the built-in of this name.
OTHERS = {
    "javascript": ["function parseInt(a) {}", "class Error {}", "promise.catch(f)", "Date.parse(a)", "{catch: 1}"],
    "typescript": ["interface Error {}", "a ? undefined : 1"],
    "java": ["lock(a)", "class HashMap<K> {}", "import java.util.HashMap;", "out = 1"],
    "c": [
        "void free(void *p);",
        "#define strlen(a) 1",
        "a->free(b)",
        "size_t strlen(const char *s);",
        "char *strchr(a);",
    ],
    "rust": [
        "fn drop(&mut self) {}",
        "std::collections::HashMap",
        "x.drop(1)",
        "input.parse()",
        "macro_rules! panic {}",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in OTHERS.items() for text in texts])
def test_what_only_has_the_name_of_a_built_in_is_not_a_use(name, text):
    record = language(name)
    words = re.findall(r"\w+", text)
    known = [
        pair[1] for pair in record.pairs["python"] if pair[1].text in words and pair[1].text not in ("fn", "function")
    ]
    assert known and not any(call_sites.sites(code_only(text, record), one, record) for one in known)


def write_files(folder, name, count=40):
    """Files that use the built-ins of a language's program in another order each, with names of their own."""
    draw = random.Random(name)
    head, *lines = shipped.PROGRAMS[name].strip().splitlines()
    for number in range(count):
        draw.shuffle(lines)
        words = ["".join(draw.choices("etaoinshrdlu", k=5)) for _ in range(12)]
        text = "\n".join([head, *lines])
        for common in ("text", "names", "path", "map", "other", "table", "file", "lock", "one", "number"):
            text = text.replace(f"{common}.", f"{draw.choice(words)}.")
        path = folder / f"project{number // 2}" / f"file{number}{language(name).extensions[0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@each_language
def test_a_corpus_of_own_files_has_prompts_of_many_pairs(name, tmp_path):
    for one in ("python", name):
        write_files(tmp_path / one, one)
    asked = manifest.of_sources({one: [tmp_path / one] for one in ("python", name)}, vocab_size=600, max_length=64)
    raw = asked.record()
    raw["clean"] |= dict(near_duplicates=False, exact_duplicates=False)
    built = build.build(manifest.check(raw, "test"), tmp_path / "out", jobs=1, progress=False)
    sites = built.stats.call_sites[f"python-{name}"]
    usable = {one: sum(map(bool, counts)) for one, counts in sites.prompts.items()}
    assert min(usable.values()) >= 10, usable


def test_languages_that_share_an_ending_may_share_a_folder(tmp_path):
    """A header may be C or C++; a folder that both name counts its headers in both."""
    draw = random.Random(0)
    for number in range(60):
        words = ["".join(draw.choices("etaoinshrdlu", k=6)) for _ in range(20)]
        path = tmp_path / "own" / f"project{number // 3}" / f"file{number}{('.c', '.cpp', '.h')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"int {word}(int {word[:3]});\n" for word in words))
    asked = manifest.of_sources({"c": [tmp_path / "own"], "cpp": [tmp_path / "own"]}, vocab_size=400, max_length=32)
    raw = asked.record()
    raw["clean"] |= dict(near_duplicates=False)
    built = build.build(manifest.check(raw, "test"), tmp_path / "out", jobs=1, progress=False)
    for name in ("c", "cpp"):
        assert built.stats.languages[name].cleaning["kept"].files == 40, name
