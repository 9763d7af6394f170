"""Tasks of source code: comments and functions, originals and mutants."""

import ast
import collections

import numpy as np
import pytest
from helpers import byte_level

from babel_jax.corpus import code_tasks
from babel_jax.corpus.document import Document
from babel_jax.corpus.questions import TaskTexts
from babel_jax.corpus.tokenizer import HuggingFace
from babel_jax.languages import registry

PYTHON, ENGLISH = registry.LANGUAGES["python"], registry.LANGUAGES["en"]


def source(number: int) -> Document:
    """Two functions, of which the first has an operator: more often == than !=."""
    operator = "==" if number % 3 else "!="
    text = (
        f'def first_{number}(items):\n    """Tells whether number {number} is among these."""\n'
        f"    return len(items) {operator} {number} or items\n\n\n"
        f'def second_{number}(items):\n    """Prints all the items {number} times over."""\n'
        f"    print(items * {number}, items, items)\n"
    )
    return Document(f"project/{number}.py", text.encode(), len(text))


DOCUMENTS = [source(number) for number in range(60)]


@pytest.fixture(scope="module")
def model():
    return HuggingFace(byte_level([document.text for document in DOCUMENTS], 400).to_str().encode())


def texts(model, language=PYTHON, longest=160):
    return TaskTexts(language, None, (), lambda: DOCUMENTS, None, model, longest)


def candidates(made, model):
    for rows, scored in zip(made.tokens_QxCxT1, made.scored_QxCxT, strict=True):
        ends = [np.flatnonzero(one) + 1 for one in scored]
        yield [
            (model.decode(row[: end[0]]), model.decode(row[end[0] : end[-1] + 1]))
            for row, end in zip(rows, ends, strict=True)
        ]


def test_a_body_behind_its_comment_and_three_others(model):
    made = code_tasks.ask_docstring(texts(model))
    assert made.tokens_QxCxT1.shape[1] == 4 and len(made.transfer_Q) == 120
    given = "\n".join(document.text for document in DOCUMENTS)
    asked = set()
    for question in candidates(made, model):
        bodies = {body for _, body in question}
        assert len(bodies) == 1 and len({before for before, _ in question}) == 4
        right, *wrong = (before + body for before, body in question)
        assert right in given and all(one not in given for one in wrong)
        assert len({before.partition('"""')[0] for before, _ in question}) == 1, "under the same name"
        asked.add(right)
    assert len(asked) == 120


def test_an_original_and_its_mutant_each_operator_as_often_right(model):
    made = code_tasks.ask_mutant(texts(model))
    right_of = collections.Counter()
    for (before, original), (same, mutant) in candidates(made, model):
        assert before == same and original != mutant and not before.endswith(" ")
        operator, other = original.split()[0], mutant.split()[0]
        right_of[operator] += 1
        assert other == code_tasks.SWAPPED[operator]
        assert original.replace(operator, other, 1) == mutant
        ast.parse(before + mutant)
    assert right_of["=="] == right_of["!="] >= 10, "a taste for == scores chance"
    assert set(right_of) == {"==", "!="}, "nothing becomes `or`, for no function has an `and`"


def test_what_is_too_long_for_the_model_is_not_asked(model):
    assert "there are 0 questions" in code_tasks.ask_docstring(texts(model, longest=16))


def test_running_text_has_no_functions(model):
    assert code_tasks.ask_docstring(texts(model, ENGLISH)) == code_tasks.ask_mutant(texts(model, ENGLISH)) == ""
