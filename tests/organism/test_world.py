import hashlib
import itertools

import numpy as np
import pytest
from helpers import world_config

from babel_jax.common.errors import UserError
from babel_jax.organism import world_material
from babel_jax.organism.frame import FRAME, NAME_1, NAME_2, PROMPT_LENGTH, WORD_1, WORD_2
from babel_jax.organism.notation import NOTATIONS, notation_of
from babel_jax.organism.world import World, WorldConfig

FULL = World(WorldConfig(primary="python", new="php"), seed=0)
CORPORA = {name: FULL.corpus(name, 20_000, "train") for name in ("python", "php", "php_control")}
PAIRS = list(itertools.permutations(NOTATIONS, 2))


def words_of(rows):
    return rows[:, [WORD_1, WORD_2]] - FULL.first_word


def answers(language, embedded=FULL):
    word = embedded.problem_word_Qx2
    return embedded.programs(language, word, embedded.fact_W[word])[:, PROMPT_LENGTH:]


def clean(rows, language):
    """Documents without noise: the frame stands where it must."""
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


@pytest.mark.parametrize(
    "primary, new, wrong_share, seed, draws",
    [
        ("python", "php", 0.0, 0, "e722eb9c9b248b2f152fe21de109f199f60464659e510a4488d76fb61a0fe326"),
        ("php", "python", 0.15, 1, "a7619121632c3b2a811363ccbaabdc2f7b8810ee467fe3827508ad45e69b5caf"),
    ],
)
def test_a_world_that_studies_have_used_stays_as_it_was_to_the_last_bit(primary, new, wrong_share, seed, draws):
    config = WorldConfig(primary=primary, new=new, wrong_share=wrong_share)
    drawn = World(config, seed)
    digest = hashlib.sha256("\n".join(drawn.tokens).encode())
    for array in (drawn.fact_W, drawn.wrong_fact_W, drawn.problem_word_Qx2):
        digest.update(array.astype("<i8").tobytes())
    for source in (primary, new, f"{new}_control"):
        for purpose in ("train", "heldout"):
            digest.update(drawn.corpus(source, 2000, purpose).astype("<i4").tobytes())
    assert digest.hexdigest() == draws


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


@pytest.mark.parametrize("primary, new", PAIRS)
def test_tokens_are_aligned_between_languages(primary, new):
    both = World(world_config(primary=primary, new=new), 0)
    word = both.problem_word_Qx2
    rows = {name: both.programs(name, word, both.fact_W[word]) for name in both.languages}
    own = [FRAME.index("define"), FRAME.index("end"), NAME_1, NAME_2]
    same = rows[primary] == rows[new]
    assert same[:, [i for i in range(len(FRAME)) if i not in own]].all()
    assert not same[:, own[0]].any()
    assert same[:, own[1]].all() == (notation_of(primary).end == notation_of(new).end)
    shared = set(notation_of(primary).identifiers) & set(notation_of(new).identifiers)
    assert len(both.tokens) == len(set(both.tokens)) and len(shared) < 8  # most words are a language's own
    assert (both.identifier_ids[primary] == both.identifier_ids[new]).sum() == len(shared)


def test_material_agrees_with_the_world():
    material = world_material.materials(world_config(), 0)["php"]
    small = World(world_config(), 0)
    assert material.vocab_size == small.vocab_size and material.frozen_rows == 40
    assert material.max_length == len(FRAME) - 1
    assert (material.loss_weight_V == 0).sum() == 40 and (material.loss_weight_V[-40:] == 0).all()
    problems = material.problems
    assert problems.transfer_Q.sum() == 24 and len(problems.transfer_Q) == 40
    for language in material.heldout:
        rows = np.concatenate([problems.prompt_QxT[language], problems.answer_QxA[language]], axis=1)
        slots, index = material.slots[language], np.arange(40)
        names = rows[index, slots["position"] + 1]
        assert np.array_equal(names, slots["primary_id" if language == "python" else "new_id"])
        held = material.heldout[language]
        assert held["knowledge"].sum(1).tolist() == [2] * 16 and held["loss"].sum(1).tolist() == [9] * 16
    assert material.fingerprint != world_material.materials(world_config(), 1)["php"].fingerprint


@pytest.mark.parametrize("changes", [dict(shared_words=21), dict(shared_words=0), dict(shared_problems=40)])
def test_numbers_that_do_not_make_a_world_are_refused(changes):
    with pytest.raises(UserError, match="must lie between|world.shared_words must be a whole number from 1"):
        world_config(**changes)
    with pytest.raises(UserError, match="must give words for php, go; it gives php"):
        world_config(new=("php", "go"), shared_words={"php": 8})


def test_several_new_languages_know_each_their_own_part_of_the_primarys_words():
    shared = {"php": 8, "go": 12, "cpp": 20}
    config = world_config(new=tuple(shared), shared_words=shared, new_only_words=10)
    several = World(config, 0)
    for new, known in shared.items():
        words = several.corpus(new, 4000, "train")[:, [WORD_1, WORD_2]] - several.first_word
        assert set(np.unique(words)) == {*range(known), *range(20, 30)}
    materials = world_material.materials(config, 0)
    assert list(materials) == list(shared)
    transfer = {new: material.problems.transfer_Q.mean() for new, material in materials.items()}
    assert (
        transfer["php"] == 0.6 > transfer["go"] > transfer["cpp"] == 0
    )  # what a language covers it need not take over
    prompts = [material.problems.prompt_QxT["python"] for material in materials.values()]
    assert np.array_equal(prompts[0], prompts[2])
    assert set(materials["go"].heldout) == set(materials["go"].slots) == {"python", "go"}
    assert materials["go"].sources is materials["php"].sources and len(materials["go"].sources) == 7
    judged = {new: several.judge(new, material.problems.answer_QxA[new]).all() for new, material in materials.items()}
    assert all(judged.values())


# --- judging ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language, other", [("python", "php"), ("php", "python")])
def test_the_judge_accepts_what_is_right_and_nothing_else(language, other):
    right = answers(language)
    assert FULL.judge(language, right).all()
    assert not FULL.judge(language, answers(other)).any()  # another frame
    for column in range(right.shape[1]):
        broken = right.copy()
        broken[:, column] = FULL.ids["\n"]
        assert not FULL.judge(language, broken).any()
    foreign = right.copy()
    foreign[:, 0] = answers(other)[:, 0]  # the same meaning, but another language's name for it
    same_name = (foreign == right).all(1)
    assert np.array_equal(FULL.judge(language, foreign), same_name) and not same_name.all()


@pytest.mark.parametrize("primary, new", PAIRS)
def test_every_two_languages_make_a_world_whose_answers_are_right(primary, new):
    both = World(world_config(primary=primary, new=new), 0)
    for language in both.languages:
        right = answers(language, both)
        assert both.judge(language, right).all()
        wrong = right.copy()
        wrong[:, 0] = np.roll(both.identifier_ids[language], 1)[both.fact_W[both.problem_word_Qx2[:, 0]]]
        assert both.judge(language, wrong).mean() < 0.2
    material = world_material.materials(both.config, 0)[new]
    assert set(material.problems.prompt_QxT) == {primary, new}


def test_only_php_knows_a_function_however_its_letters_are_cased():
    both = World(world_config(primary="php", new="csharp"), 0)
    assert {"trim", "Trim", "md5", "MD5"} <= set(both.ids)
    fact = np.full(len(both.problem_word_Qx2), notation_of("php").identifiers.index("trim"))
    both.fact_W = np.full(len(both.fact_W), fact[0])
    for language, other in (("php", "csharp"), ("csharp", "php")):
        written = answers(language, both)
        written[:, 0] = both.identifier_ids[other][fact]
        assert (both.judge(language, written) == (language == "php")).all()


def test_a_slot_knows_its_name_in_all_of_three_languages_and_only_then():
    three = world_material.materials(WorldConfig(primary="python", new=("php", "go")), 0)
    slots = three["go"].slots["go"]
    assert {name for name in slots if name.startswith("ids.")} == {"ids.python", "ids.php", "ids.go"}
    assert np.array_equal(slots["ids.python"][:, 0], slots["primary_id"])
    assert np.array_equal(slots["ids.go"][:, 0], slots["new_id"])
    of_php = three["php"].slots["php"]
    assert np.array_equal(slots["ids.php"][:, 0], of_php["new_id"])
    two = world_material.materials(WorldConfig(primary="python", new="php"), 0)["php"]
    assert not any(name.startswith("ids.") for name in two.slots["php"])
