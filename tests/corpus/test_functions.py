"""Functions of source code with their comments, and operators in them."""

import pytest

from babel_jax.corpus.functions import SWAPPED, first_sentence, functions
from babel_jax.languages import registry

PYTHON = '''
import os


class Stack:
    def push(self, item):
        """Puts an item on top of the stack. Nothing is returned.

        Raises nothing.
        """
        if len(self.items) == self.limit and not self.grows:
            self.limit = self.limit + 1
        self.items.append(item)

    def empty(self): return not self.items


def undocumented(first, second):
    total = first - second
    return "a == b" if total < 0 else total  # a < b


def short():
    """Says five words about nothing."""
    pass


def one_line(x):
    """Says what it does here, too."""; return x + 1
'''
GO = """package main

import "fmt"

// Area returns the area of a square
// with this side. It never fails.
func Area(side int) int {
	if side == 0 && !allowed {
		return 0 // side != 1
	}
	return side * side
}

// not a function at all, but five words
var x = map[string]int{"a": 1}

if a == b {
}
"""
PHP = """<?php
class Names {
    /**
     * Returns the first name of a person.
     *
     * @param array $person
     */
    public function first(array $person): string
    {
        if ($person['age'] >= 18 && $person['name'] !== null) {
            return $person['name'] . ' { ';
        }
        return '';
    }

    /** Says five words before a statement. */
    if ($x == 1) { echo 'this is no function at all'; }
}
"""


def found(text, language):
    return list(functions(text, registry.LANGUAGES[language]))


def test_functions_of_python_with_their_first_sentence():
    push, empty, undocumented = sorted(
        found(PYTHON, "python"), key=lambda function: (not function.comment, function.text)
    )
    assert push.comment == "Puts an item on top of the stack."
    assert push.before == 'def push(self, item):\n    """' and push.after[: push.body] == '"""\n'
    assert push.after[push.body :].startswith("    if len(self.items)") and push.after.endswith("append(item)\n")
    assert sorted(one.text for one in push.operators) == ["+", "==", "and"]
    assert all(push.text[one.start :].startswith(one.text) for one in push.operators)
    assert empty.text == "def empty(self): return not self.items\n" and empty.operators == ()
    assert undocumented.comment == "" and {one.text for one in undocumented.operators} == {"-", "<"}
    less = next(one for one in undocumented.operators if one.text == "<")
    assert undocumented.text[less.start :].startswith("< 0 else"), "not the one in a string or a comment"


@pytest.mark.parametrize(("text", "language"), [(GO, "go"), (PHP, "php")])
def test_functions_between_braces(text, language):
    (function,) = found(text, language)
    expected = {"go": "Area returns the area of a square with this side.", "php": "Returns the first name of a person."}
    assert function.comment == expected[language]
    head = function.after[function.body :].splitlines()[0]
    assert head == {"go": "func Area(side int) int {", "php": "public function first(array $person): string"}[language]
    assert function.after.rstrip().splitlines()[-1] == "}", "to the brace that matches, whatever strings hold"
    operators = {one.text for one in function.operators}
    assert operators == {"go": {"==", "&&"}, "php": {">=", "&&", "!=="}}[language]
    for one in function.operators:
        assert function.text[one.start :].startswith(one.text)


def test_an_operator_beside_brackets_is_left_as_it_is():
    (function,) = found("def same(first, second):\n    return (first) == (second) or first != second\n", "python")
    assert sorted(one.text for one in function.operators) == ["!=", "or"], (
        "what stands between operands is the operator alone"
    )


def test_a_file_that_cannot_be_parsed_has_no_functions():
    assert found("def f(:\n", "python") == [] and found("print 'a'\n", "python") == []
    assert found("// five words are in here\nfunc open(a int) {", "go") == []


def test_what_has_no_braces_has_no_functions():
    lua = registry.record("lua", {"title": "Lua", "extensions": [".lua"], "line_comments": ["--"]}, "lua.yaml")
    assert list(functions("-- adds one to a number given\nfunction f(x)\n  return x + 1\nend\n", lua)) == []


def test_operators_become_each_other():
    assert all(SWAPPED[SWAPPED[one]] == one for one in SWAPPED) and "=" not in SWAPPED


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("/** Adds two numbers.\n * And more. */", "Adds two numbers."),
        ("/**\n * Adds two\n * numbers\n *\n * more */", "Adds two numbers"),
        ("/// <summary>\n/// Adds two numbers\n/// </summary>", "Adds two numbers"),
        ("# Adds, e.g., two.5 numbers", "Adds, e.g., two.5 numbers"),
        ("@param x\n", ""),
    ],
)
def test_the_first_sentence_of_a_comment(comment, expected):
    assert first_sentence(comment) == expected
