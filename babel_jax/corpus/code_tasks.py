"""Tasks of source code: the comment that a function answers, and which of two functions is the original.

Both compare what is the same but for one thing: a function's body behind four comments, or a function with two operators.
"""

import collections
import itertools

from babel_jax.common.material import Choices
from babel_jax.corpus.functions import SWAPPED, SWAPS, Function, Operator, functions
from babel_jax.corpus.questions import NOT_OF_THIS_KIND, Question, TaskTexts, choices, groups, order, right_first

CODE_TOKENS = 112  # of a function at most
MOST_OF_A_FILE = 4  # functions


def ask_docstring(texts: TaskTexts) -> Choices | str:
    """How probable is a function's body behind its comment, and behind three of other functions?"""
    found = _found(texts, commented=True)
    if isinstance(found, str):
        return found
    by_comment = {function.comment: function for function in found}
    asked = []
    for group in sorted(groups(by_comment), key=lambda group: order(*group)):
        asked.append([_behind(by_comment[right], right_first(right, group)) for right in group])
    return choices(asked, texts.tokenizer, min(CODE_TOKENS, texts.longest))


def _behind(function: Function, comments: list[str]) -> Question:
    between, body = function.after[: function.body], function.after[function.body :]
    return Question(tuple((function.before + comment + between, body) for comment in comments))


def ask_mutant(texts: TaskTexts) -> Choices | str:
    """Is a function more probable than the same one with an operator changed, from the operator to its end?

    Of two operators that become each other, each is as often the right one: a taste for one of them scores chance.
    """
    found = _found(texts, commented=False)
    if isinstance(found, str):
        return found
    places = collections.defaultdict(list)
    for function in found:
        if function.operators:
            operator = min(function.operators, key=lambda one: (_surplus(places, one), order(function.text, one.start)))
            places[operator.text].append((function, operator))
    each = [list(zip(places[first], places[second], strict=False)) for first, second in SWAPS]
    # In turns, so that no two operators are most of the questions.
    pairs = [pair for turn in itertools.zip_longest(*each) for pair in turn if pair is not None]
    asked = ([_mutated(*one) for one in pair] for pair in pairs)
    return choices(asked, texts.tokenizer, min(CODE_TOKENS, texts.longest))


def _surplus(places: dict[str, list], operator: Operator) -> int:
    """By how many an operator was taken more often than the one that it becomes."""
    return len(places[operator.text]) - len(places[SWAPPED[operator.text]])


def _mutated(function: Function, operator: Operator) -> Question:
    text, end = function.text, operator.start + len(operator.text)
    start = operator.start - (text[operator.start - 1] == " ")  # the space belongs to the operator's token
    read, space = text[:start], text[start : operator.start]
    return Question(tuple((read, space + each + text[end:]) for each in (operator.text, SWAPPED[operator.text])))


def _found(texts: TaskTexts, commented: bool) -> list[Function] | str:
    """Functions in the order of a hash, at most MOST_OF_A_FILE a file, each comment once (`commented`: those with one).

    Or why there are none.
    """
    language = texts.language
    if language.kind != "code":
        return NOT_OF_THIS_KIND
    if language.name != "python" and ("/*", "*/") not in language.block_comments:
        return "its functions are not found by comments and braces"
    found: dict[str, Function] = {}
    for document in texts.documents():
        here = [one for one in functions(document.text, language) if one.comment or not commented]
        for function in sorted(here, key=lambda function: order(function.text))[:MOST_OF_A_FILE]:
            found.setdefault(function.comment or function.text, function)
    return sorted(found.values(), key=lambda function: order(function.text))
