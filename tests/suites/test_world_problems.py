"""The embedded world's programs in all five languages, run by the languages' own tools."""

import collections
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import world_config

from babel_jax.common.errors import UserError
from babel_jax.organism.frame import PROMPT_LENGTH
from babel_jax.organism.notation import NOTATIONS, notation_of
from babel_jax.organism.primitives import PRIMITIVES, TEST_INPUTS, results
from babel_jax.organism.world import World
from babel_jax.suites.judge import Sample, judge
from babel_jax.suites.sandbox import Limits
from babel_jax.suites.toolchains.toolchain import Code, Conditions
from babel_jax.suites.world_problems import completions, problems

PRINTABLE = "".join(map(chr, range(32, 127)))
each_language = pytest.mark.parametrize("language", NOTATIONS)


def embedded(language):
    """A small world of the language and another one; PHP's is one some of whose names differ only in case."""
    return World(world_config(primary=language, new="csharp" if language == "php" else "php"), seed=0)


def function(world, language, pair):
    return world.text(language, world.programs(language, np.array([[3, 7]]), np.array([pair]))[0])


def many(world, language, pairs, wrong=(), inputs=TEST_INPUTS):
    """One program that asserts what each composition gives; those in `wrong` are asserted to give something else."""
    notation = notation_of(language)
    body, assertions = notation.prelude, []
    for number, pair in enumerate(pairs):
        body += function(world, language, pair).replace(" f(", f" f{number}(")
        expected = results(*pair, inputs)
        if number in wrong:
            expected[-1] += "?"
        checks = map(notation.assertion, inputs, expected)
        assertions += [check.replace("f(", f"f{number}(", 1) for check in checks]
    return Code(language, body, notation.test_file(assertions), declares=("world",))  # PHP's namespace


def runs(toolchain, sandboxed, code):
    """The process that ran the program, or a failure that shows what the compiler said."""
    conditions = Conditions("5e2f0c1d", Limits(cpu_seconds=60, wall_seconds=120), Limits())
    done = toolchain.execute(sandboxed, code, conditions)
    assert done.ran is not None, done.compiled.stderr.decode() + done.compiled.stdout.decode()
    return done


@each_language
def test_every_composition_gives_what_the_interpreter_says(language, ready, sandboxed):
    pairs = [(outer, inner) for outer in range(16) for inner in range(16)]
    done = runs(ready(language), sandboxed, many(embedded(language), language, pairs))
    assert done.ran.status == 0 and done.sentinel_seen, done.ran.stderr.decode()


@each_language
def test_one_wrong_result_is_noticed(language, ready, sandboxed):
    pairs = [(outer, 0) for outer in range(16)]
    done = runs(ready(language), sandboxed, many(embedded(language), language, pairs, wrong={15}))
    assert done.ran.status != 0 and not done.sentinel_seen


@each_language
def test_primitives_agree_on_all_printable_text_and_at_the_edges_of_the_hashes_blocks(language, ready, sandboxed):
    lengths = (0, 1, 2, 3, 55, 56, 63, 64, 65)
    inputs = (PRINTABLE, PRINTABLE[::-1] * 2, "   ", "a  b c", *(PRINTABLE[:length] for length in lengths))
    pairs = [(outer, inner) for outer in range(16) for inner in (0, 3)]  # behind upper case and reversal
    done = runs(ready(language), sandboxed, many(embedded(language), language, pairs, inputs=inputs))
    assert done.ran.status == 0 and done.sentinel_seen, done.ran.stderr.decode()


# --- the same path as every suite ---------------------------------------------------------------------------------------


def inner_alone_is_right(world):
    """A problem that is solved without its outer call: what is malformed by one token may still run."""
    functions = list(PRIMITIVES.values())
    for number, (outer, inner) in enumerate(world.fact_W[world.problem_word_Qx2]):
        if results(outer, inner) == list(map(functions[inner], TEST_INPUTS)):
            return number
    raise AssertionError("the world has no such problem; take another seed")


def mixed_batch(world, language):
    """(problem, completion) with right, wrong and malformed completions: one token of any kind in any place."""
    other = next(name for name in world.languages if name != language)
    right = world.programs(language, world.problem_word_Qx2, world.fact_W[world.problem_word_Qx2])[:, PROMPT_LENGTH:]
    hard = inner_alone_is_right(world)
    kinds = [world.ids[token] for token in ("#", "\n", "f(x):", "return", "(", "(x))", "word0")]
    kinds += [world.ids[getattr(notation_of(name), mark)] for name in (language, other) for mark in ("define", "end")]
    kinds += [*world.identifier_ids[language][[0, 6]], *world.identifier_ids[other][[0, 6]]]
    malformed = []
    for column in range(right.shape[1]):
        for token in kinds:
            row = right[hard].copy()
            row[column] = token
            malformed.append((hard, row))
    foreign = []
    for number in range(8):
        row = right[number].copy()
        row[0] = world.identifier_ids[other][world.fact_W[world.problem_word_Qx2[number, 0]]]
        foreign.append((number, row))
    wrong = [(number, right[number - 1]) for number in range(8)]
    return [(number, right[number]) for number in (*range(8), hard)], wrong + foreign, malformed


def verdicts(world, language, batch, toolchain, sandboxed, path):
    """The outcome of each (problem, completion), by the judge of all suites."""
    asked = problems(world, language)
    texts = completions(world, language, np.array([row for _, row in batch]))
    places = collections.Counter()
    samples = []
    for (number, _), text in zip(batch, texts, strict=True):
        samples.append(Sample(asked[number], places[number], text, "given"))
        places[number] += 1
    bench = SimpleNamespace(sandbox=sandboxed, toolchains={language: toolchain}, jobs=2)
    judged = judge(samples, bench, path)
    by_sample = {(verdict.task_id, verdict.sample): verdict for verdict in judged}
    return [by_sample[sample.problem.task_id, sample.index].outcome for sample in samples]


def by_the_interpreter(world, language, batch):
    """`World.judge` for (problem, completion)."""
    accepted = []
    for number, row in batch:
        rows = np.broadcast_to(row, (len(world.problem_word_Qx2), len(row)))
        accepted.append(bool(world.judge(language, rows)[number]))
    return accepted


def judged_alike(language, ready, sandboxed, path, most):
    """Outcomes of at most `most` programs of each kind, after both judges said the same of each."""
    world, toolchain = embedded(language), ready(language)
    rng = np.random.default_rng(0)
    batch = [kind[i] for kind in mixed_batch(world, language) for i in rng.permutation(len(kind))[:most]]
    outcomes = verdicts(world, language, batch, toolchain, sandboxed, path)
    disagreed = [
        f"{outcome}: {world.text(language, row)!r} (problem {number})"
        for (number, row), outcome, right in zip(
            batch, outcomes, by_the_interpreter(world, language, batch), strict=True
        )
        if (outcome == "passed") != right
    ]
    assert not disagreed
    return collections.Counter(outcomes)


@each_language
def test_the_judge_of_all_suites_agrees_with_the_worlds_own(language, ready, sandboxed, tmp_path):
    most = 4 if language == "cpp" else 8  # programs of a kind
    outcomes = judged_alike(language, ready, sandboxed, tmp_path / "verdicts.jsonl", most)
    assert outcomes["passed"] >= most and outcomes["failed_assert"] >= 2
    assert outcomes["compile_error"] >= most // 2


@pytest.mark.slow
@each_language
def test_one_token_of_any_kind_in_any_place_is_judged_alike(language, ready, sandboxed, tmp_path):
    judged_alike(language, ready, sandboxed, tmp_path / "verdicts.jsonl", most=1000)


@each_language
def test_problems_are_whole_records_of_their_language(language):
    world = embedded(language)
    asked = problems(world, language)
    assert [problem.number for problem in asked] == list(range(40)) and len({p.task_id for p in asked}) == 40
    for problem, words in zip(asked, world.problem_word_Qx2, strict=True):
        comment = problem.prompt.splitlines()[0]
        assert comment.endswith(f" word{words[0]} word{words[1]}.") and not problem.prompt.endswith("\n")
        assert problem.language == language and problem.entry_point == "f" and problem.block
        names = [notation_of(language).identifiers[fact] for fact in world.fact_W[words]]
        assert problem.solution.startswith(f"{names[0]}({names[1]}(")
        # The tests hold results and no names: a completion cannot copy its answer from them.
        assert all(f"{name}(" not in problem.tests for name in names)


def test_a_language_that_is_not_of_the_world_is_refused():
    with pytest.raises(UserError, match="unknown language of this world 'goo'; did you mean 'go'"):
        problems(World(world_config(primary="python", new="go"), 0), "goo")
