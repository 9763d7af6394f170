"""What cases put where something else belongs: on the command line, in configs, in files."""

# ruff: noqa: E501, SIM905

LONG, DEEP = "x" * 300, "[" * 100_000 + "]" * 100_000
# fmt: off
NUMBERS = [
    *"0 1 -1 2 1.5 nan inf -inf 1e308 1e-320 1e400 1_0 0x10 -0.0 1e 9223372036854775808 0/1 1,,2 -1,2".split(), "9" * 30, " 1", "١",
]
TEXTS = [
    "", " ", "-", "--", "---", "=", ",", ",,", ":", "a:b:c", "/", "//", "..", ".", "~", "*", "**", "[", "a[", "(", "{}", "%s", "$HOME",
    "=1", "a=", "a=b=c", "python=1", "python", "php", "cobol", "python,php", "python,python", "a/b", "../evil", LONG, LONG + "/y",
    "é", "名", "\udcff", "\x1b[31mred", "a\nb", "\r", "\u202e", "\u2028", "\x85", "\x07", "missing", "missing/folder", "/dev/null",
    "sources", "suite.jsonl", "study.py", "study.py:x", "x.py:a", "own:", "own:suite.jsonl", "nope:suite.jsonl", "study/study.json",
    "corpus", "gpt2", "localhost:99999", ":1", "localhost:1", f"{LONG}:1", "\udcff:1", "file:///x", "last", "all", "cpu:9", "embed_table[",
]
LITERALS = [  # of Python, behind --config.KEY=
    *"None True [] {} () '' 'x' -1 0 1 0.5 1e400 -1e400 10**9 {1,2} b'x' (3,) ('a',) {'a':1} {1:2} (None,) [[[]]] 1j nan ... -".split(),
    "", "9" * 30, "(0,0)", f"'{LONG}'", "'a\\0b'", "'\\x1b[31m'", "'a\\nb'", DEEP[:99], "(-1,)", "(1e400,)", "'1'", "\udcff", "'../evil'",
    "({'tokens':0},)", "({'tokens':-1,'weights':{'x':1}},)", "((0,1),)", "['primary']", "lambda: 1", "(0,1e9)", "('x','x')",
]
JSON = [
    *'null true [] {} "" -1 0 1 1e400 NaN 1.5 -0.0 1e-400 "x" "a\\u0000b" "../../evil" [[[]]] [1] {"a":1} "\\ud800" "NA"'.split(),
    DEEP, "9" * 400, "9" * 5000, f'"{LONG}"', '"\\u001b[31m"', '"a\\nb"',
]
JUNK = [  # whole files
    b"", b"{}", b"[]", b"null", b"3", b"\xff\xfe", b"\0" * 64, b"\xef\xbb\xbf", b"\r\n", DEEP.encode(), b'{"a": 1, "a": 2}\n', b"a,b\n1,2,3\n",
    b"a: [b\n", b"- a\n- b\n", b"&a [*a]\n", b"a: 1\na: 2\n", b"!!python/object:os.system {}\n", b"language,seed\n", b"x = '\xe9'\n",
    b"def", b"import nowhere\n", b"get_config = 3\n", b"def get_config(a, b): pass\n", b"raise ValueError('a\\nb\\x1b')\n",
    *(b"def get_config(): return %s\n" % value for value in (b"None", b"{}", b"[1]", b"1 / 0", b"{1: 2}", b"dict(runs=3)")),
]
# fmt: on
