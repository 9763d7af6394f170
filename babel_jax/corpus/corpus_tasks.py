"""Tasks of a corpus: what a model is asked about its held-out text beside generating it.

`ask` of each: (`questions.TaskTexts`) -> `Choices`, or the end of a sentence that says why there are none.
"""

from collections.abc import Iterable

from babel_jax.common.material import Choices, Task
from babel_jax.corpus.fact_questions import FACTS, ask_facts
from babel_jax.corpus.questions import CHOICES, TaskTexts
from babel_jax.corpus.word_tasks import ask_cloze, ask_word

_WORDS = "it takes a corpus of natural languages with pairs of words"
TASKS = (
    Task(FACTS, "choosing what a fact says", "facts", 1 / CHOICES, ask_facts, "it takes a corpus with `facts`"),
    Task("word", "translating a word", "translated word", 1 / CHOICES, ask_word, _WORDS),
    Task("cloze", "choosing the word that comes next in a text", "next word", 1 / CHOICES, ask_cloze, _WORDS),
)


def asked(texts: TaskTexts, tasks: Iterable[Task] = TASKS) -> tuple[dict[str, Choices], list[str]]:
    """(by name what is asked, sentences about what is not)."""
    found, reasons = {}, []
    for task in tasks:
        made = task.ask(texts)
        if isinstance(made, Choices):
            found[task.name] = made
        else:
            what = f"{task.title[0].upper()}{task.title[1:]}"
            reasons.append(f"{what} is not asked in {texts.language.title}: {made}.")
    return found, reasons
