import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import world_config

from babel_jax import languages
from babel_jax.errors import UserError
from babel_jax.organism import world
from babel_jax.organism.languages import DIALECTS, PRIMITIVES, TEST_INPUTS, render
from babel_jax.organism.world import FRAME, NAME_1, NAME_2, PROMPT_LENGTH, WORD_1, WORD_2, World, WorldConfig

FULL = World(WorldConfig(primary="python", new="php"), seed=0)
CORPORA = {name: FULL.corpus(name, 20_000, "train") for name in ("python", "php", "php_control")}
FUNCTIONS = list(PRIMITIVES.values())


def words_of(rows):
    return rows[:, [WORD_1, WORD_2]] - FULL.first_word


def answers(language):
    word = FULL.problem_word_Qx2
    return FULL.programs(language, word, FULL.fact_W[word])[:, PROMPT_LENGTH:]


def clean(rows, language):
    """Documents that are no noise: the frame stands where it must."""
    frame = FULL.programs(language, np.zeros((1, 2), int), np.zeros((1, 2), int))[0]
    fixed = [i for i in range(len(FRAME)) if i not in (WORD_1, WORD_2, NAME_1, NAME_2)]
    return (rows[:, fixed] == frame[fixed]).all(1)


def test_problems_are_distinct_and_split_as_asked():
    words = FULL.problem_word_Qx2
    transfer = (words >= 80).any(1)
    assert words.shape == (400, 2) and words.max() < 200
    assert transfer.tolist() == [False] * 160 + [True] * 240
    assert len({tuple(pair) for pair in words.tolist()}) == 400


def test_another_seed_is_another_world_and_the_same_seed_the_same():
    again, other = World(FULL.config, 0), World(FULL.config, 1)
    assert np.array_equal(again.fact_W, FULL.fact_W)
    assert np.array_equal(again.corpus("php", 20_000, "train"), CORPORA["php"])
    assert not np.array_equal(other.fact_W, FULL.fact_W)
    assert not np.array_equal(other.problem_word_Qx2, FULL.problem_word_Qx2)


def test_the_primary_covers_all_words_and_the_new_language_never_those_beyond_s():
    primary = words_of(CORPORA["python"][clean(CORPORA["python"], "python")])
    assert set(np.unique(primary)) == set(range(200))
    new = words_of(CORPORA["php"])
    assert set(np.unique(new)) == {*range(80), *range(200, 600)}
    assert np.mean(new >= 200) == pytest.approx(0.5, abs=0.01)
    assert set(np.unique(words_of(CORPORA["php_control"]))) == set(range(80))


@pytest.mark.parametrize("name", ["python", "php", "php_control"])
def test_no_document_poses_a_problem(name):
    problems = {tuple(pair) for pair in FULL.problem_word_Qx2.tolist()}
    for purpose in ("train", "heldout"):
        rows = CORPORA[name] if purpose == "train" else FULL.corpus(name, 2000, purpose)
        rows = rows[clean(rows, name[:3] if name != "python" else name)]
        assert not problems & {tuple(pair) for pair in words_of(rows).tolist()}


def test_documents_state_the_facts_and_only_the_primarys_are_noisy():
    for name, language, noise in (("python", "python", 0.05), ("php", "php", 0), ("php_control", "php", 0)):
        rows = CORPORA[name]
        stated = clean(rows, language)
        assert np.mean(~stated) == pytest.approx(noise, abs=0.006)
        rows = rows[stated]
        assert np.array_equal(rows, FULL.programs(language, words_of(rows), FULL.fact_W[words_of(rows)]))
    assert clean(FULL.corpus("python", 2000, "heldout"), "python").all()


def test_the_poorer_variant_is_wrong_beyond_s_and_nowhere_else():
    poorer = World(WorldConfig(primary="python", new="php", wrong_share=0.15), seed=0)
    rows = poorer.corpus("php", 5000, "train")
    words = words_of(rows)
    beyond = (words >= 80) & (words < 200)
    assert beyond.mean() == pytest.approx(0.15, abs=0.01)
    right = rows[:, [NAME_1, NAME_2]] == poorer.identifier_ids["php"][poorer.fact_W[words]]
    assert not right[beyond].any() and right[~beyond].all()
    python = poorer.corpus("python", 5000, "heldout")
    assert np.array_equal(python, poorer.programs("python", words_of(python), poorer.fact_W[words_of(python)]))


def test_tokens_are_aligned_between_languages():
    word = FULL.problem_word_Qx2
    rows = {name: FULL.programs(name, word, FULL.fact_W[word]) for name in FULL.languages}
    own = [FRAME.index("define"), FRAME.index("end"), NAME_1, NAME_2]
    same = rows["python"] == rows["php"]
    assert same[:, [i for i in range(len(FRAME)) if i not in own]].all()
    assert not same[:, own[:2]].any()
    shared = set(DIALECTS["python"].identifiers) & set(DIALECTS["php"].identifiers)
    assert len(shared) == 4 and len(FULL.tokens) == len(set(FULL.tokens))


def test_material_agrees_with_the_world():
    material = world.material(world_config(), 0)
    small = World(world_config(), 0)
    assert material.vocab_size == small.vocab_size and material.frozen_rows == 40
    assert material.max_length == len(FRAME) - 1
    assert (material.loss_weight_V == 0).sum() == 40 and (material.loss_weight_V[-40:] == 0).all()
    problems = material.problems
    assert problems.transfer_Q.sum() == 24 and len(problems.transfer_Q) == 40
    for language in material.heldout:
        rows = np.concatenate([problems.prompt_QxT[language], problems.answer_QxA[language]], axis=1)
        slots, index = material.slots[language], np.arange(40)
        found = rows[index, slots["position"] + 1]
        assert np.array_equal(found, slots["primary_id" if language == "python" else "new_id"])
        held = material.heldout[language]
        assert held["knowledge"].sum(1).tolist() == [2] * 16 and held["loss"].sum(1).tolist() == [9] * 16
    assert material.fingerprint != world.material(world_config(), 1).fingerprint


@pytest.mark.parametrize("changes", [dict(shared_words=20), dict(shared_words=0), dict(shared_problems=40)])
def test_numbers_that_make_no_world_are_refused(changes):
    with pytest.raises(UserError, match="must lie between"):
        world_config(**changes)


# --- judging ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["python", "php"])
def test_the_judge_accepts_what_is_right_and_nothing_else(language):
    right = answers(language)
    assert FULL.judge(language, right).all()
    other = {"python": "php", "php": "python"}[language]
    assert not FULL.judge(language, answers(other)).any()  # another frame
    for column in range(right.shape[1]):
        broken = right.copy()
        broken[:, column] = FULL.ids["\n"]
        assert not FULL.judge(language, broken).any()
    foreign = right.copy()
    foreign[:, 0] = answers(other)[:, 0]  # the same meaning, but another language's name for it
    same_name = (foreign == right).all(1)
    assert np.array_equal(FULL.judge(language, foreign), same_name) and not same_name.all()


# Runs many programs in one process of the language's tool; prints a JSON list: a program's output, or null if it fails.
RUN_MANY = {
    "python": """
import contextlib, io, json, sys
results = []
for text in json.load(sys.stdin):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(text, "program", "exec"), {})
        results.append(out.getvalue())
    except Exception:
        results.append(None)
print(json.dumps(results))
""",
    "php": """<?php
$results = [];
foreach (json_decode(file_get_contents('php://stdin')) as $i => $text) {
    ob_start();
    try {
        eval(str_replace(['<?php', 'namespace world;'], ['', "namespace world$i;"], $text));
        $results[] = ob_get_clean();
    } catch (\\Throwable $error) {
        ob_end_clean();
        $results[] = null;
    }
}
echo json_encode($results);
""",
}


def tool(language):
    """The command that runs a file; Python is the one that runs the tests, without what is installed beside it."""
    return [sys.executable, "-I", "-S", "{file}"] if language == "python" else list(languages.language(language).run)


def run_real(language, texts, folder):
    command = tool(language)
    if shutil.which(command[0]) is None:
        pytest.skip(f"'{command[0]}' is not installed, so its programs were not run")
    runner = folder / "runner"
    runner.write_text(RUN_MANY[language])
    command = [part.format(file=runner) for part in command]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def meaning(outer, inner):
    """What the world's own interpreter prints."""
    return "".join(f"{FUNCTIONS[outer](FUNCTIONS[inner](text))}\n" for text in TEST_INPUTS)


@pytest.mark.parametrize("language", ["python", "php"])
def test_the_real_tool_agrees_on_every_problem(language, tmp_path):
    texts = [render(language, *FULL.program_text(answer)) for answer in answers(language)]
    expected = [meaning(*FULL.fact_W[words]) for words in FULL.problem_word_Qx2]
    assert run_real(language, texts, tmp_path) == expected


@pytest.mark.parametrize("language", ["python", "php"])
def test_the_real_tool_agrees_on_every_composition(language, tmp_path):
    names = DIALECTS[language].identifiers
    pairs = [(outer, inner) for outer in range(16) for inner in range(16)]
    texts = [render(language, names[outer], names[inner]) for outer, inner in pairs]
    assert run_real(language, texts, tmp_path) == [meaning(*pair) for pair in pairs]


@pytest.mark.parametrize("language", ["python", "php"])
def test_the_real_tool_agrees_on_wrong_programs(language, tmp_path):
    rng = np.random.default_rng(0)
    written = answers(language)
    names = np.unique(np.concatenate(list(FULL.identifier_ids.values())))  # of both languages
    one = rng.random(400) < 0.5
    written[one, 0] = rng.choice(names, one.sum())
    written[~one, NAME_2 - NAME_1] = rng.choice(names, (~one).sum())
    printed = run_real(language, [render(language, *FULL.program_text(row)) for row in written], tmp_path)
    expected = [meaning(*FULL.fact_W[words]) for words in FULL.problem_word_Qx2]
    accepted = FULL.judge(language, written).tolist()
    assert [out == want for out, want in zip(printed, expected, strict=True)] == accepted
    assert None in printed and 0 < sum(accepted) < 100  # failing, wrong and (by chance) right programs were among them


@pytest.mark.parametrize("language", ["python", "php"])
def test_single_files_run_as_the_language_record_says(language, tmp_path):
    if shutil.which(tool(language)[0]) is None:
        pytest.skip(f"'{tool(language)[0]}' is not installed, so its programs were not run")
    for number, answer in enumerate(answers(language)[::50]):
        path = tmp_path / f"{number}{languages.language(language).extensions[0]}"
        path.write_text(render(language, *FULL.program_text(answer)))
        command = [part.format(file=path) for part in tool(language)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.stdout == meaning(*FULL.fact_W[FULL.problem_word_Qx2[50 * number]]), done.stderr
