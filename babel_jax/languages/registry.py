"""One record a language: extensions, comment and string marks, and pairs of built-ins of the same meaning.

A further language is a further record here, a toolchain in `suites/toolchains.py` if its programs are to be run, and
a renderer in `organism/` if the embedded world is to speak it: no other module names one.
"""

from dataclasses import dataclass

from babel_jax.common.errors import UserError, unknown_name


@dataclass(frozen=True)
class StringLiteral:
    """How a string literal opens and closes. The first of a language's literals that fits is the one that opens.

    `escape`: what shields the closing mark ("" if nothing does). `prefixes`: it is this literal only right behind one of
    these. `holes`: marks in it behind which an expression stands, up to its closing brace; one character doubled is none.
    """

    open: str
    close: str
    escape: str = "\\"
    multiline: bool = False
    prefixes: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DelimitedLiteral:
    """A string literal that chooses its own closing mark; all but `prefixes` are regular expressions.

    {} in `open` and `close` is where `delimiter` fits, the same text in both, as much of it as fits. `open` begins with a
    plain character, `close` with an escaped one. `open_begun`, `close_begun`: what may still become them when more text
    follows; of bounded length, for it is read again with each piece of text that comes.
    """

    open: str
    open_begun: str
    close: str
    close_begun: str
    delimiter: str
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Language:
    """What the project must know about a programming language; what compiles and runs it is `suites/toolchains.py`."""

    name: str
    title: str
    extensions: tuple[str, ...]
    line_comments: tuple[str, ...]
    block_comments: tuple[tuple[str, str], ...]
    strings: tuple[StringLiteral, ...]
    not_comments: tuple[str, ...] = ()  # marks that begin like a line comment and are none
    code_marks: tuple[str, str] | None = None  # (open, close) where code stands inside other text
    members: tuple[str, ...] = (".",)  # marks between an object, class or package and its member
    declares: tuple[str, ...] = ()  # words after which a name is declared or imported, not used
    delimited: DelimitedLiteral | None = None
    digit_separator: str = ""  # a mark inside of numbers that opens a literal elsewhere
    global_mark: str = ""  # may stand before the name of a built-in without changing what it means
    line_ends: str = ""  # a pattern of what else than a line break ends a line for its compiler
    joins_lines: bool = False  # a backslash at the end of a line joins it to the next one


C_COMMENTS = (("/*", "*/"),)
QUOTES = (StringLiteral('"', '"'), StringLiteral("'", "'"))
FORMAT_PREFIXES = ("f", "F", "fr", "fR", "Fr", "FR", "rf", "rF", "Rf", "RF")

LANGUAGES = {
    language.name: language
    for language in (
        Language(
            name="python",
            title="Python",
            extensions=(".py",),
            line_comments=("#",),
            block_comments=(),
            strings=(
                *(
                    StringLiteral(mark, mark, multiline=len(mark) == 3, prefixes=prefixes, holes=holes)
                    for prefixes, holes in ((FORMAT_PREFIXES, ("{",)), ((), ()))
                    for mark in ('"""', "'''", '"', "'")
                ),
            ),
            declares=("def", "class", "import", "as", "lambda"),
        ),
        Language(
            name="php",
            title="PHP",
            extensions=(".php",),
            line_comments=("//", "#"),
            not_comments=("#[",),
            block_comments=C_COMMENTS,
            strings=(
                StringLiteral('"', '"', multiline=True, holes=("{$", "${")),
                StringLiteral("'", "'", multiline=True),
                StringLiteral("`", "`", multiline=True),
            ),
            delimited=DelimitedLiteral(
                r"""<<<[ \t]{0,200}(?P<quote>["']?){}(?P=quote)(?=\r?\n)""",
                r"""<(?:<(?:<[ \t]{0,200}["']?\w{0,200}["']?\r?)?)?""",
                r"\n[ \t]{0,200}{}(?!\w)",
                r"\n[ \t]{0,200}\w{0,200}",
                r"[A-Za-z_]\w{0,199}",
            ),
            code_marks=("<?", "?>"),
            members=("->", "::"),
            line_ends="\r\n?",
            declares=("function", "class", "new", "use", "const", "fn"),
            global_mark="\\",
        ),
        Language(
            name="csharp",
            title="C#",
            extensions=(".cs",),
            line_comments=("//",),
            block_comments=C_COMMENTS,
            strings=(
                StringLiteral('"', '"', escape='"', multiline=True, prefixes=("$@", "@$"), holes=("{",)),
                StringLiteral('"', '"', escape='"', multiline=True, prefixes=("@",)),
                StringLiteral('"', '"', prefixes=("$",), holes=("{",)),
                *QUOTES,
            ),
            members=(".",),
            line_ends="\r\n?|[\u2028\u2029]",
            declares=("new", "class", "void"),
        ),
        Language(
            name="go",
            title="Go",
            extensions=(".go",),
            line_comments=("//",),
            block_comments=C_COMMENTS,
            strings=(StringLiteral("`", "`", escape="", multiline=True), *QUOTES),
            line_ends="\r\n",
            declares=("func", "type"),
        ),
        Language(
            name="cpp",
            title="C++",
            extensions=(".cc", ".cpp", ".cxx", ".hpp", ".hh", ".hxx", ".h"),
            line_comments=("//",),
            block_comments=C_COMMENTS,
            strings=QUOTES,
            delimited=DelimitedLiteral(
                r'"{}\(',
                r'"[^\s()\\"]{0,16}',
                r'\){}"',
                r'\)[^\s()\\"]{0,16}',
                r'[^\s()\\"]{0,16}',
                prefixes=("R", "LR", "uR", "UR", "u8R"),
            ),
            digit_separator="'",
            line_ends="\r\n?",
            joins_lines=True,
            members=(".", "->", "::"),
            declares=("class", "struct", "new", "void", "auto"),
        ),
    )
}


def language(name: str) -> Language:
    """The record of a language; an unknown name is a `UserError` that says the nearest known one."""
    if name not in LANGUAGES:
        raise unknown_name("language", name, LANGUAGES)
    return LANGUAGES[name]


@dataclass(frozen=True)
class Identifier:
    """A built-in of a language, and how its uses are recognised in source code.

    `use`: "function" (`name(`, not a member), "method" (a member that is called), "property" (a member that is not
    called), "word" (neither a member nor a call: a statement or a constant). `not_of`: receivers whose member of this
    name is another function (`path.join`); a receiver that ends in one of them counts.
    """

    text: str
    use: str
    not_of: tuple[str, ...] = ()


def function(text):
    return Identifier(text, "function")


def method(text, *not_of):
    return Identifier(text, "method", not_of)


def member(text):
    return Identifier(text, "property")


def word(text):
    return Identifier(text, "word")


# (primary, new) -> pairs of built-ins of the same meaning whose names differ, from the languages' references: the Python
# Language and Library Reference, the PHP Manual, the .NET API reference, the Go specification and standard library, the
# C++ standard. Names that are the same word in both (abs, range of Python and PHP; append of Go) cannot tell the
# languages apart, nor can one whose first token is a name of the other language (str_replace, is_a, property_exists and
# Python's str, is, property; makedirs and Go's make), nor two that begin alike (pop and pop_back, any and any_of).
# A pair's place is its number in the corpora's prompts: further pairs go to the end.
PYTHON_JOIN = method("join", "path")
PYTHON_SPLIT = method("split", "path", "re", "regex", "shlex")
PYTHON_FIND = method("find", "root", "tree", "element")
PYTHON_REPLACE = method("replace", "os", "dataclasses", "copy", "date", "time", "datetime")
IDENTIFIER_PAIRS: dict[tuple[str, str], tuple[tuple[Identifier, Identifier], ...]] = {
    ("python", "php"): (
        (function("len"), function("strlen")),
        (function("len"), function("count")),
        (function("print"), word("echo")),
        (PYTHON_JOIN, function("implode")),
        (PYTHON_SPLIT, function("explode")),
        (method("lower"), function("strtolower")),
        (method("upper"), function("strtoupper")),
        (method("strip"), function("trim")),
        (method("lstrip"), function("ltrim")),
        (method("rstrip"), function("rtrim")),
        (method("format"), function("sprintf")),
        (method("capitalize"), function("ucfirst")),
        (method("append"), function("array_push")),
        (method("keys"), function("array_keys")),
        (method("values"), function("array_values")),
        (function("map"), function("array_map")),
        (function("open"), function("fopen")),
        (function("type"), function("gettype")),
        (word("del"), function("unset")),
        (word("raise"), word("throw")),
        (word("None"), word("null")),
    ),
    ("python", "csharp"): (
        (function("len"), member("Length")),
        (function("print"), method("WriteLine")),
        (function("input"), method("ReadLine")),
        (function("str"), method("ToString")),
        (method("append"), method("Add")),
        (method("strip"), method("Trim")),
        (method("lower"), method("ToLower")),
        (method("upper"), method("ToUpper")),
        (word("raise"), word("throw")),
        (word("None"), word("null")),
        (method("lstrip"), method("TrimStart")),
        (method("rstrip"), method("TrimEnd")),
        (method("ljust"), method("PadRight")),
        (method("rjust"), method("PadLeft")),
        (PYTHON_FIND, method("IndexOf")),
        (method("rfind"), method("LastIndexOf")),
        (method("encode", "codecs", "base64", "encoder", "tokenizer"), method("GetBytes")),
        (method("decode", "codecs", "base64", "decoder", "tokenizer"), method("GetString", "reader", "Reader")),
        (method("extend"), method("AddRange")),
        (function("map"), method("Select")),
        (function("filter"), method("Where")),
        (function("type"), method("GetType", "assembly", "Assembly")),
        (function("super"), word("base")),
        (word("except"), word("catch")),
        (method("dirname"), method("GetDirectoryName")),
        (method("makedirs"), method("CreateDirectory")),
    ),
    ("python", "go"): (
        (function("print"), method("Println")),
        (function("str"), method("Itoa")),
        (method("strip"), method("TrimSpace")),
        (method("lower"), method("ToLower")),
        (method("upper"), method("ToUpper")),
        (method("startswith"), method("HasPrefix")),
        (method("endswith"), method("HasSuffix")),
        (PYTHON_REPLACE, method("ReplaceAll")),
        (word("raise"), function("panic")),
        (word("None"), word("nil")),
        (method("lstrip"), method("TrimLeft")),
        (method("rstrip"), method("TrimRight")),
        (PYTHON_FIND, method("Index")),
        (method("rfind"), method("LastIndex")),
        (method("format", "formatter", "Formatter"), method("Sprintf")),
        (method("dumps", "pickle", "marshal", "yaml"), method("Marshal", "xml", "yaml", "proto", "asn1")),
        (method("loads", "pickle", "marshal", "yaml"), method("Unmarshal", "xml", "yaml", "proto", "asn1")),
        (method("compile"), method("MustCompile")),
        (method("acquire"), method("Lock")),
        (method("release"), method("Unlock")),
        (method("listdir"), method("ReadDir")),
        (method("rmtree"), method("RemoveAll")),
    ),
    ("python", "cpp"): (
        (function("len"), method("size")),
        (function("print"), member("cout")),
        (function("input"), member("cin")),
        (function("str"), method("to_string")),
        (method("append"), method("push_back")),
        (word("raise"), word("throw")),
        (word("None"), word("nullptr")),
        (method("append"), method("emplace_back")),
        (word("except"), word("catch")),
        (function("sum"), method("accumulate")),
        (method("discard"), method("erase")),
        (method("acquire"), method("lock")),
        (method("sub"), method("regex_replace")),
        (method("heappush"), method("push_heap")),
        (method("heappop"), method("pop_heap")),
        (method("heapify"), method("make_heap")),
        (method("bisect_left"), method("lower_bound")),
        (method("bisect_right"), method("upper_bound")),
        (method("makedirs"), method("create_directories")),
        (method("basename"), method("filename")),
        (method("dirname"), method("parent_path")),
        (method("getsize"), method("file_size")),
        (method("cpu_count"), method("hardware_concurrency")),
    ),
}


def identifier_pairs(primary: str, new: str) -> tuple[tuple[Identifier, Identifier], ...]:
    """The (primary's, new language's) identifiers of the same meaning; `UserError` where none are written down."""
    language(primary), language(new)
    if (primary, new) in IDENTIFIER_PAIRS:
        return IDENTIFIER_PAIRS[primary, new]
    if (new, primary) in IDENTIFIER_PAIRS:
        return tuple((there, here) for here, there in IDENTIFIER_PAIRS[new, primary])
    raise UserError(
        f"no identifier pairs of {primary} and {new} are known; write them into IDENTIFIER_PAIRS of languages.py."
    )
