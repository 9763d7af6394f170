"""Tasks of a corpus: what a model is asked about its held-out text beside generating it.

`ask` of each: (`questions.TaskTexts`) -> `Choices` or `Parallel`, or the end of a sentence that says why there are none.
"""

from collections.abc import Iterable

from babel_jax.common.material import Asked, Task
from babel_jax.corpus.code_tasks import ask_docstring, ask_mutant
from babel_jax.corpus.fact_questions import FACTS, ask_facts
from babel_jax.corpus.questions import CHOICES, NOT_OF_THIS_KIND, TaskTexts
from babel_jax.corpus.sentences import RETRIEVAL, ask_retrieval
from babel_jax.corpus.word_tasks import ask_cloze, ask_word

_WORDS = "it takes a corpus of natural languages with pairs of words"
_CODE = "it takes a corpus of code in a language whose functions can be found"
TASKS = (
    Task(FACTS, "choosing what a fact says", "facts", 1 / CHOICES, ask_facts, "it takes a corpus with `facts`"),
    Task("word", "translating a word", "translated word", 1 / CHOICES, ask_word, _WORDS),
    Task("cloze", "choosing the word that comes next in a text", "next word", 1 / CHOICES, ask_cloze, _WORDS),
    Task(
        RETRIEVAL,
        "finding a sentence's translation by the model's states",
        "found translation",
        0.0,  # one in as many as there are sentences
        ask_retrieval,
        "it takes a corpus of natural languages with parallel text, or `probe --parallel`",
    ),
    Task("docstring", "choosing the comment of a function", "comment of a function", 1 / CHOICES, ask_docstring, _CODE),
    Task("mutant", "telling a function from one with a changed operator", "changed operator", 1 / 2, ask_mutant, _CODE),
)


def asked(texts: TaskTexts, tasks: Iterable[Task] = TASKS) -> tuple[dict[str, Asked], list[str]]:
    """(by name what is asked, sentences about what is not)."""
    found, reasons = {}, []
    for task in tasks:
        made = task.ask(texts)
        if isinstance(made, Asked):
            found[task.name] = made
        elif made != NOT_OF_THIS_KIND:
            what = f"{task.title[0].upper()}{task.title[1:]}"
            reasons.append(f"{what} is not asked in {texts.language.title}: {made}.")
    return found, reasons
