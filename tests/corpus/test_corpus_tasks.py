"""The registry of what is asked about a corpus."""

from helpers import spoken

from babel_jax.corpus import corpus_tasks
from babel_jax.corpus.questions import TaskTexts
from babel_jax.corpus.tokenizer import HuggingFace
from babel_jax.languages import registry


def texts(language, other, pairs, documents=()):
    model = HuggingFace(spoken.vocabulary().to_str().encode())
    return TaskTexts(language, other, pairs, lambda: documents, None, model, 128)


def test_what_can_be_asked_is_and_what_cannot_is_said():
    old, young = spoken.languages()
    found, reasons = corpus_tasks.asked(texts(young, old, young.pairs["old"], spoken.documents()))
    assert set(found) == {"word", "cloze"} and reasons == [], "nobody misses tasks of code in a natural language"
    found, (reason,) = corpus_tasks.asked(texts(young, old, young.pairs["old"]))
    assert set(found) == {"word"}
    assert reason.startswith("Choosing the word that comes next in a text is not asked in Young: there are 0 questions")


def test_a_language_whose_functions_are_not_found_says_so():
    python, php = (registry.LANGUAGES[name] for name in ("python", "php"))
    lua = registry.record("lua", {"title": "Lua", "extensions": [".lua"], "line_comments": ["--"]}, "lua.yaml")
    found, reasons = corpus_tasks.asked(texts(lua, python, ()))
    assert found == {} and [reason.partition(":")[0] for reason in reasons] == [
        "Choosing the comment of a function is not asked in Lua",
        "Telling a function from one with a changed operator is not asked in Lua",
    ]
    assert "there are 0 questions" in corpus_tasks.asked(texts(php, python, php.pairs["python"]))[1][0]


def test_names_distinguish_tasks():
    names = [task.name for task in corpus_tasks.TASKS]
    assert len(set(names)) == len(names) and all(0 <= task.chance < 1 for task in corpus_tasks.TASKS)
