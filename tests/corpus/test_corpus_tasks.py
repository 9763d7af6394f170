"""The registry of what is asked about a corpus."""

from helpers import spoken

from babel_jax.corpus import corpus_tasks
from babel_jax.corpus.questions import TaskTexts
from babel_jax.corpus.tokenizer import HuggingFace
from babel_jax.languages import registry


def texts(language, other, pairs, documents=()):
    model = HuggingFace(spoken.vocabulary().to_str().encode())
    return TaskTexts(language, other, pairs, lambda: documents, model, 128)


def test_what_can_be_asked_is_and_what_cannot_is_said():
    old, young = spoken.languages()
    found, reasons = corpus_tasks.asked(texts(young, old, young.pairs["old"], spoken.documents()))
    assert {"word", "cloze"} <= set(found)
    assert all(f"not asked in {young.title}: " in reason for reason in reasons)
    assert len(found) + len(reasons) == len(corpus_tasks.TASKS)
    python, php = (registry.LANGUAGES[name] for name in ("python", "php"))
    found, reasons = corpus_tasks.asked(texts(php, python, php.pairs["python"]))
    assert found == {} and len(reasons) == len(corpus_tasks.TASKS)
    assert (
        "Translating a word is not asked in PHP: it takes two natural languages whose `pairs` of words are known."
        in reasons
    )


def test_names_distinguish_tasks():
    names = [task.name for task in corpus_tasks.TASKS]
    assert len(set(names)) == len(names) and all(0 < task.chance < 1 for task in corpus_tasks.TASKS)
