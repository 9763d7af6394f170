"""Reference solutions whose borders, bytes and lengths are hard cases, and a small model that reads them."""

from babel_jax.corpus import tokenizer
from babel_jax.model.decoder import DecoderConfig
from babel_jax.probes.subject import Subject
from babel_jax.suites.likelihood import solution_losses
from babel_jax.suites.problems import Problem
from helpers import loud

TEXTS = [
    f"def add_{i}(a, b):\n    return a + b + {i}\n\n\nfor x in range({i}):\n    print(x * x, 'größe {i % 7}')\n"
    for i in range(60)
]
TOKENIZER = tokenizer.train(TEXTS, 368)
END = TOKENIZER.document_end
CONFIG = DecoderConfig(vocab_size=368, width=16, layers=2, heads=2, ffn_width=32, max_length=130, tied_head=False)


def problem(number, prompt, solution, language="python"):
    """A problem of one's own that has no tests."""
    return Problem("own", language, f"own/{number}", number, prompt, "", "f", solution, (), False)


PROBLEMS = [
    problem(0, "def add_1(a, b):\n", "    return a + b\n"),
    problem(1, "def add_1(a, b):\n    ", "return a\n"),  # four spaces are one token, the border is a token's
    problem(2, "def add_1(a, b):\n  ", "  return a\n"),  # …which here holds bytes of both sides
    problem(3, "# 日本 größe €\ndef f():\n", "    return '日€𝄞' + x\n", "php"),  # bytes, not characters
    problem(4, "", "x = 1\n"),  # nothing predicts a document's first token
    problem(5, "for x in range(3):\n", None),
    problem(6, "for x in range(3):\n", ""),
    problem(7, "def f(x):\n    # \u2581 is a block\n", "    return '\u2581\u2581' + x\n", "php"),
    problem(8, "x = 1\n" * 11, "y = 2\n" * 5),
]
TOO_LONG = [
    problem(20, TEXTS[3] * 6, "    return b\n"),  # a prompt that does not fit
    problem(21, "x\n", TEXTS[5] * 12),  # nor does a solution
]


def losses_of(problems, params=None, config=CONFIG, variant="raw", end=END):
    """`solution_losses` of problems, by the small model or by other parameters."""
    subject = Subject(loud(config) if params is None else params, config, end)
    return solution_losses(subject, TOKENIZER, problems, variant)
