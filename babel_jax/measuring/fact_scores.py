"""Facts asked in the primary and in the new language, where no program is judged: what is right is a study's accuracy.

Rows are those of programs (`programs.program_rows`), one beside: the chance of a right answer, which of a program there is none.
"""

import numpy as np

from babel_jax.common.material import Choices
from babel_jax.measuring.programs import accuracy_row
from babel_jax.measuring.task_scores import choose
from babel_jax.probes.subject import Subject


def fact_rows(subject: Subject, facts: dict[str, Choices]) -> list[dict]:
    """Which questions are answered in each language, accuracies by subset, and chance."""
    return [
        dict(probe="evaluation", language=language) | row
        for language, right_Q in answered(subject, facts).items()
        for row in _language_rows(facts[language], right_Q)
    ]


def answered(subject: Subject, facts: dict[str, Choices]) -> dict[str, np.ndarray]:
    """Language -> whether each question is answered right."""
    return {language: chosen.right_Q for language, chosen in choose(subject, facts).items()}


def accuracy(subject: Subject, facts: dict[str, Choices], language: str) -> float:
    """The share of a language's questions that is answered right."""
    return float(answered(subject, {language: facts[language]})[language].mean())


def _language_rows(asked: Choices, right_Q: np.ndarray) -> list[dict]:
    rows, transfer_Q = [], asked.transfer_Q
    for subset, chosen_Q in (("shared", ~transfer_Q), ("transfer", transfer_Q)):
        options = {"subset": subset}
        for item in np.flatnonzero(chosen_Q):
            rows.append(dict(metric="solved", item=int(item), value=float(right_Q[item]), options=options))
        rows.append(accuracy_row(right_Q[chosen_Q], metric="accuracy", options=options))
    rows.append(accuracy_row(right_Q, metric="accuracy", options={"subset": "all"}))
    # Each question is about one name, so the accuracy of names is that of questions.
    rows.append(accuracy_row(right_Q[transfer_Q], metric="word_accuracy", options={"subset": "transfer"}))
    candidates = asked.tokens_QxCxT1.shape[1]
    about = dict(options={"subset": "all", "choices": candidates})
    return [*rows, about | dict(metric="chance", value=1 / candidates, n=len(right_Q))]
