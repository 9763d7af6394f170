"""The embedded world's problems as problems to judge: token prompts and completions as source code, tests that run.

`World.judge` compares meanings and wants the frame token by token; here the language's own tool runs the program. A program
that is right for one is right for the other, but for those that are right without the frame's two calls: `f((x))` where the
problem asks for `f(f(x))` and f twice is f once.
"""

import numpy as np

from babel_jax.common.errors import unknown_name
from babel_jax.organism.frame import PROMPT_LENGTH
from babel_jax.organism.notation import notation_of
from babel_jax.organism.primitives import TEST_INPUTS, results
from babel_jax.organism.world import World
from babel_jax.suites.problems import Problem


def problems(world: World, language: str) -> list[Problem]:
    """The world's problems in one of its languages; `number` counts them from 0, in the world's order.

    The prompt is the program up to the first identifier, the comment with the concept words included; the primitives stand
    in the prefix.

    Raises:
      UserError: the world knows no such language.
    """
    if language not in world.languages:
        raise unknown_name("language of this world", language, world.languages)
    notation = notation_of(language)
    word_Qx2 = world.problem_word_Qx2
    fact_Qx2 = world.fact_W[word_Qx2]
    solution_QxT = world.programs(language, word_Qx2, fact_Qx2)
    solutions = completions(world, language, solution_QxT[:, PROMPT_LENGTH:])
    return [
        Problem(
            suite="world",
            language=language,
            task_id=str(number),
            number=number,
            prefix=notation.prelude,
            prompt=world.text(language, solution_QxT[number, :PROMPT_LENGTH]),
            solution=solutions[number],
            tests=notation.test_file(map(notation.assertion, TEST_INPUTS, results(outer, inner))),
            entry_point="f",
            stops=(),
            block=True,
        )
        for number, (outer, inner) in enumerate(fact_Qx2)
    ]


def completions(world: World, language: str, completion_QxA: np.ndarray) -> list[str]:
    """Completions, token ids [n, any length], as the source code that they stand for."""
    return [world.text(language, row) for row in completion_QxA]
