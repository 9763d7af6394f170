"""Short functions of source code with the comment that says what they do, and places where one operator can be another.

Python is read by its own parser; in other languages, whose records say what is a comment and what a string, a function is a
comment, a head with parentheses, and braces that match. What is not surely one is left out.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator

from babel_jax.languages.language import Language
from babel_jax.languages.lexical import code_only, not_code

MOST_LINES, FEWEST_CHARACTERS = 16, 24  # of a function; of its body without the comment
FEWEST_WORDS, MOST_WORDS = 5, 30  # of a comment
# Operators and what each may become: of the same kind, so that the function still reads like one.
SWAPS = (("==", "!="), ("===", "!=="), ("<", ">"), ("<=", ">="), ("+", "-"), ("and", "or"), ("&&", "||"))
SWAPPED = dict(SWAPS) | {second: first for first, second in SWAPS}
_COMPARED = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">="}
_COMPUTED = {ast.Add: "+", ast.Sub: "-", ast.And: "and", ast.Or: "or"}
# A head between a comment and its brace: words and marks of types, a name, parameters. No statement, no second one.
_HEAD = re.compile(
    r"\s*(?:[^\W\d][\w<>\[\],.:&*?\\ \t\n@]*?[\s*&])??(?P<name>[^\W\d]\w*)\s*(?:<[^(){};=]*>)?"
    r"\s*\([^{};]*\)[^{};=()]*\{"
)
_NO_HEAD = re.compile(
    r"\s*(?:if|for|foreach|while|switch|catch|return|new|do|else|try|match|class|struct|enum|interface|namespace)\b"
)
_MARKS = re.compile(r"^[\s/*!#]+|[\s*/]+$", re.MULTILINE)
MARKS = ('"""', "'''")  # of a docstring
_TAG = re.compile(r"</?\w[^>]*>")


@dataclasses.dataclass(frozen=True)
class Operator:
    """Where an operator stands in `Function.text`, and which it is."""

    start: int
    text: str


@dataclasses.dataclass(frozen=True)
class Function:
    """A function in its file's own layout, from column 0.

    Attributes:
      before, comment, after: what stands before the words of its comment, these as one line, and what stands behind them; ""
        and all of it where it has no comment.
      body: where in `after` what the comment is about begins, in characters.
      operators: in `text`, those that can be swapped.
    """

    before: str
    comment: str
    after: str
    body: int
    operators: tuple[Operator, ...] = ()

    @property
    def text(self) -> str:
        return self.before + self.comment + self.after


def functions(text: str, language: Language) -> Iterator[Function]:
    """The short functions of a file, with comments of FEWEST_WORDS to MOST_WORDS words or (Python's) without any."""
    for function in _of_python(text) if language.name == "python" else _of_braces(text, language):
        if len(function.after[function.body :].strip()) >= FEWEST_CHARACTERS:
            yield function


def first_sentence(comment: str) -> str:
    """What a comment says first, on one line: up to a blank line, a tag such as @param, or the end of its sentence."""
    lines: list[str] = []
    for line in _TAG.sub("", comment).strip().splitlines():
        line = " ".join(_MARKS.sub("", line).split())
        if (not line and lines) or line.startswith(("@", ":", "\\")):
            break
        if line:
            lines.append(line)
    return re.split(r"(?<=\w[.!?])\s", " ".join(lines), maxsplit=1)[0]


# --- Python ---------------------------------------------------------------------------------------------------------------


def _of_python(text: str) -> Iterator[Function]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):  # another version's Python, or data: not a file to ask about
        return
    lines = text.splitlines(keepends=True)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        function = _commented(node, lines) or _plain(node, lines)
        if function is None:
            continue
        try:
            again = ast.parse(function.text)
        except SyntaxError:  # a string of several lines lost its margin
            continue
        yield dataclasses.replace(function, operators=tuple(_python_operators(again, function.text)))


def _commented(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> Function | None:
    """A function with a docstring on lines of its own, which becomes its first sentence."""
    doc, margin = node.body[0], node.col_offset
    comment = first_sentence(ast.get_docstring(node) or "")
    if (
        not _fits(comment, '"', "\\")
        or doc.lineno == node.lineno
        or not lines[doc.end_lineno - 1].rstrip().endswith(MARKS)
    ):
        return None
    head = _outdented(lines[node.lineno - 1 : doc.lineno - 1], margin)
    rest = _outdented(lines[doc.end_lineno : node.end_lineno], margin)
    if head is None or rest is None:
        return None
    return Function(
        f"{head}{' ' * (doc.col_offset - margin)}{MARKS[0]}", comment, f"{MARKS[0]}\n{rest}", len(MARKS[0]) + 1
    )


def _plain(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> Function | None:
    """Any other function without a docstring."""
    if ast.get_docstring(node) is not None:
        return None
    text = _outdented(lines[node.lineno - 1 : node.end_lineno], node.col_offset)
    return text and Function("", "", text, 0)


def _outdented(lines: list[str], margin: int) -> str | None:
    """Lines from a column on; None: something stands before it, or they are too many or say too little."""
    text = "".join(line[margin:] if line.strip() else "\n" for line in lines).rstrip("\n") + "\n"
    outside = any(line[:margin].strip() or "\t" in line for line in lines)
    return None if outside or len(lines) > MOST_LINES else text


def _fits(comment: str, *unwanted: str) -> bool:
    return FEWEST_WORDS <= len(comment.split()) <= MOST_WORDS and not any(mark in comment for mark in unwanted)


def _python_operators(tree: ast.Module, text: str) -> Iterator[Operator]:
    """Between two operands, where nothing but the operator and whitespace stands."""
    begins = [0]
    for line in text.splitlines(keepends=True):
        begins.append(begins[-1] + len(line.encode()))
    content = text.encode()

    def place(lineno: int, column: int) -> int:
        return begins[lineno - 1] + column

    for node in ast.walk(tree):
        for left, operator, right in _operands(node):
            start, end = place(left.end_lineno, left.end_col_offset), place(right.lineno, right.col_offset)
            between = content[start:end].decode()
            if between.strip() == operator:
                at = len(content[:start].decode()) + len(between) - len(between.lstrip())
                yield Operator(at, operator)


def _operands(node: ast.AST) -> Iterator[tuple[ast.expr, str, ast.expr]]:
    if isinstance(node, ast.Compare):
        for left, kind, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            if type(kind) in _COMPARED:
                yield left, _COMPARED[type(kind)], right
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield node.left, _COMPUTED[type(node.op)], node.right
    elif isinstance(node, ast.BoolOp):
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield left, _COMPUTED[type(node.op)], right


# --- languages with braces ------------------------------------------------------------------------------------------------


def _of_braces(text: str, language: Language) -> Iterator[Function]:
    code = code_only(text, language)
    comments = _comments(text, language)
    for start, end in comments:
        head = _HEAD.match(code, end)
        if head is None or _NO_HEAD.match(code, end) or "\0" in head[0]:
            continue
        stop = _matching(code, head.end() - 1)
        if stop is None:
            continue
        begin = text.rfind("\n", 0, start) + 1
        margin = text[begin:start]
        lines = text[end:stop].splitlines(keepends=True)
        outdented = any(line.strip() and not line.startswith(margin) for line in lines[1:])
        comment = first_sentence(text[start:end])
        if margin.strip() or outdented or len(lines) > MOST_LINES or not _fits(comment, "*/"):
            continue
        if not lines[0].isspace():
            continue
        # The comment as one line of the kind that it was.
        mark = next((mark for mark in language.line_comments if text.startswith(mark, start)), None)
        before, behind = (f"{mark} ", "\n") if mark else ("/** ", " */\n")
        after = behind + "".join(line.removeprefix(margin) if line.strip() else "\n" for line in lines[1:]) + "\n"
        function = Function(before, comment, after, len(behind))
        yield dataclasses.replace(function, operators=tuple(_brace_operators(function, language)))


def _comments(text: str, language: Language) -> list[tuple[int, int]]:
    """(start, end) of comments; line comments of neighbouring lines are one."""
    found: list[tuple[int, int]] = []
    for span in not_code(text, language):
        if span.kind != "comment":
            continue
        end = span.start + len(text[span.start : span.end].rstrip())
        begins = any(text.startswith(mark, span.start) for mark in language.line_comments)
        if (
            begins
            and found
            and text[found[-1][1] : span.start].count("\n") == 1
            and not text[found[-1][1] : span.start].strip()
        ):
            found[-1] = (found[-1][0], end)
        else:
            found.append((span.start, end))
    return found


def _matching(code: str, brace: int) -> int | None:
    """Behind the brace that closes the one at a place; None: none does."""
    depth = 0
    for mark in re.finditer(r"[{}]", code[brace : brace + 100 * MOST_LINES]):
        depth += 1 if mark[0] == "{" else -1
        if depth == 0:
            return brace + mark.end()
    return None


def _brace_operators(function: Function, language: Language) -> Iterator[Operator]:
    """Operators between spaces behind the head: no sign, no arrow, no bracket of a type."""
    code = _code(function.text, language)
    body = code.index("{", len(function.before) + len(function.comment) + function.body)
    for mark in re.finditer(r"(?<=[\w)\]\0] )(?:[=!]==?|[<>]=?|[+-]|&&|\|\|)(?= [\w($\0!-])", code[body:]):
        if mark[0] in SWAPPED:
            yield Operator(body + mark.start(), mark[0])


def _code(text: str, language: Language) -> str:
    """A function's code: where a language has marks around its code, it stands in them."""
    before = f"{language.code_marks[0]}php\n" if language.code_marks else ""
    return code_only(before + text, language)[len(before) :]
