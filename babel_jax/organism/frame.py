"""The twelve tokens of a program: two words in a comment, and a function that composes what they stand for.

Where a world has documents of other tasks: also the twelve tokens of a call, a function that joins what two words give, and
what it returns.
"""

# "define" and "end" are the language's own tokens; the four slots are filled per program.
FRAME = ("#", "word 1", "word 2", "\n", "define", "f(x):", "return", "name 1", "(", "name 2", "(x))", "end")
WORD_1, WORD_2, NAME_1, NAME_2 = (FRAME.index(slot) for slot in ("word 1", "word 2", "name 1", "name 2"))
PROMPT_LENGTH = NAME_1  # a problem's prompt ends before the first identifier
SHARED_TOKENS = ("#", "\n", "f(x):", "return", "(", "(x))")  # of all languages, in the order of their ids

CALL = (
    "define",
    "f(x):",
    "return",
    "word 1",
    "(x) +",
    "word 2",
    "(x)",
    "end",
    "f(sample) =",
    "value 1",
    "value 2",
    "\n",
)
CALLED_1, CALLED_2, VALUE_1, VALUE_2 = (CALL.index(slot) for slot in ("word 1", "word 2", "value 1", "value 2"))
CALL_TOKENS = ("(x) +", "(x)", "f(sample) =")  # of all languages, beside those of a program
