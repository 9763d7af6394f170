import ast
import dataclasses
import re
import runpy
import shlex
from pathlib import Path

import pytest
from helpers import ROOT, small_material

from babel_jax.cli.settings import load_config
from babel_jax.cli.verbs import parser_of
from babel_jax.common.errors import UserError
from babel_jax.corpus import manifest
from babel_jax.study import plan
from babel_jax.study.plan import Study
from babel_jax.training import config as run_config
from babel_jax.training.config import kept_steps

FILES = sorted(path.name for path in Path(ROOT, "configs").glob("*.py"))
VARIANTS = {name: tuple(runpy.run_path(f"{ROOT}/configs/{name}").get("VARIANTS", ())) for name in FILES}
CONFIGS = sorted(f"{name}:{variant}" for name in FILES for variant in VARIANTS[name]) + ["organism.py", "real_code.py"]
# Of source code; natural.py has a file of tests of its own.
CORPORA = sorted(path.stem for path in Path(ROOT, "configs", "corpora").glob("*.py") if path.stem != "natural")
NEW = ("php", "csharp", "go", "cpp")
PAPER = dict(python=11e9, php=23e9, csharp=16e9, go=11e9, cpp=28e9)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_a_study_of_valid_runs(name):
    config = load_config(f"{ROOT}/configs/{name}", [])
    study = Study(config)
    assert 0 < study.original_share < 1
    planned = study.planned(config.seeds[0])
    for run in planned:
        if run.candidate and not run.is_online:
            continue  # its mixture is a file that the study makes
        settings = study.config_of(run, 0)
        run_config.validate(settings)
        run_config.decoder_config(settings, 1024, 128, 0)
    unplanned = {name.role for name in planned} ^ set(config.runs)
    assert unplanned == set(), "every role has a run"


@pytest.mark.parametrize("file", FILES)
def test_a_config_gives_the_cost_and_the_command_of_each_variant(file):
    document = ast.get_docstring(ast.parse(Path(ROOT, "configs", file).read_text()))
    commands = set(re.findall(r"--config=configs/([\w.:]+)", document))
    assert all(command.split(":")[0] == file for command in commands)
    if file != "own.py":  # whose argument is a corpus, see tests/study/test_prospects.py
        assert all(load_config(f"{ROOT}/configs/{command}", []) for command in commands)
    if file == "regret.py":
        return  # its variants are a grid of worlds and budgets, which share a cost and a command
    variants = dict(re.findall(r"(?m)^  (\w+)(?: \(or no variant\))?: (.*(?:\n    .*)*)", document))
    for variant, about in variants.items() or [("", document)]:
        named = f":{variant}" * (variant not in ("", "demo", "cpu"))
        assert "Cost:" in about and re.search(rf"--config=configs/{file}{named}[ :]", about), variant
        assert "Expected:" in (document if file == "gpt2.py" else about), variant
    assert set(variants) <= set(VARIANTS[file]) <= set(re.findall(r"\w+", document))
    assert set(variants) == set(VARIANTS[file]) or file in ("gpt2.py", "llama.py")


def test_the_variants_of_a_study_differ_and_a_plain_file_is_the_demo():
    configs = {name: load_config(f"{ROOT}/configs/{name}", []).to_json() for name in CONFIGS}
    assert configs["organism.py"] == configs["organism.py:demo"]
    assert configs["gpt2.py:1b3"] == configs["gpt2.py:1b3_php"] and configs["gpt2.py:6b7"] == configs["gpt2.py:6b7_php"]
    assert configs["real_code.py"] == configs["real_code.py:cpu"]
    assert len(set(configs.values())) == len(configs) - 4


def test_a_variant_is_named_where_there_is_none_or_another():
    with pytest.raises(UserError, match="gpt2.py has several variants; choose one: .*gpt2.py:1b3, :6b7, :1b3_php"):
        load_config(f"{ROOT}/configs/gpt2.py", [])
    with pytest.raises(UserError, match="unknown variant of .*organism.py: 'porer'; did you mean 'poorer'"):
        load_config(f"{ROOT}/configs/organism.py:porer", [])


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_recipe_is_a_manifest_with_the_commands_of_its_story(name):
    file = f"configs/corpora/{name}.py"
    recipe = manifest.load(f"{ROOT}/{file}:/elsewhere")
    sources = [source for language in recipe.languages.values() for source in language.sources]
    assert "python" in recipe.languages and all(source.path.startswith("/elsewhere/") for source in sources)
    document = Path(ROOT, file).read_text().split('"""')[1].replace("\\\\\n", "")
    commands = [shlex.split(line) for line in document.splitlines() if line.startswith("  ")]
    mix = next(parser_of("corpus").parse(command[4:]) for command in commands if command[3:5] == ["corpus", "mix"])
    assert ["python", "-m", "babel_jax", "corpus", "build"] in [command[:5] for command in commands]
    build, slurm = (next(command for command in commands if word in " ".join(command)) for word in ("build", "slurm"))
    assert f"--manifest={file}" in build[5].split(":")[0] and f"--out={mix.corpus}" in build
    assert slurm[:2] == ["launch/slurm_corpus.sh", slurm[1]] and slurm[1].split(":")[0] == file
    train = dict(part[2:].split("=", 1) for command in commands if "train" in command for part in command[4:])
    assert train["mixture"] == mix.out and Path(train["config.corpus"]).name == Path(mix.corpus).name == name
    config = load_config(f"{ROOT}/{train['config']}", [])
    assert Study(config).name(train["run"])
    assert (config.vocab_size or recipe.vocab_size, config.context or recipe.max_length) == (
        recipe.vocab_size,
        recipe.max_length,
    )


@pytest.mark.parametrize(
    "config, sizes",
    [
        ("natural.py:de", {}),
        ("natural.py:ru", {}),
        ("natural.py:1gpu", dict(vocab_size=16384, max_length=1024)),
        ("real_code.py:facts", {}),
    ],
)
def test_a_study_of_facts_fits_the_corpus_that_its_story_builds(config, sizes):
    """The corpus has facts in the study's languages; primary and control are trained, and right answers are what counts."""
    made = load_config(f"{ROOT}/configs/{config}", [])
    text, argument = ("natural", "/nowhere,{}") if made.primary == "en" else ("debian", "{}")
    languages = ",".join((made.primary, *plan.new_languages(made)))
    corpus = manifest.load(f"{ROOT}/configs/corpora/{text}.py:{argument.format(languages)},facts", **sizes)
    assert corpus.facts and list(corpus.languages) == languages.split(",")
    assert (made.vocab_size or corpus.vocab_size, made.context or corpus.max_length) == (
        corpus.vocab_size,
        corpus.max_length,
    )
    assert made.runs.control.stages == ({"tokens": 0, "weights": {"new_control": 1.0}},)
    assert made.runs.control.steps == made.runs.continual.steps and len(made.seeds) == 3


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize(
    "size, family, shape",
    [
        ("gpt2.py:1b3", "gpt2", (24, 2048, 16, 2048)),
        ("gpt2.py:6b7", "gpt2", (32, 4096, 32, 2048)),
        ("llama.py:1b", "llama", (24, 2048, 32, 2048)),
        ("llama.py:8b", "llama", (32, 4096, 8, 8192)),
    ],
)
def test_the_papers_models_see_the_papers_tokens(size, family, shape, new):
    of_php = size.startswith("llama") and new == "php"
    config = load_config(f"{ROOT}/configs/{size}{'' if of_php else f'_{new}'}", [])
    study = Study(config)
    assert (config.primary, config.new) == ("python", new)

    def tokens(run):
        settings, shapes = study.shapes_of(study.name(run))
        model = run_config.decoder_config(settings, shapes.vocab_size, shapes.max_length, 0)
        assert (model.layers, model.width, model.kv_heads, model.max_length) == shape and model.dtype == "bfloat16"
        assert (settings.model.family, model.architecture.gated) == (family, family == "llama")
        assert model.vocab_size % 128 == 0 and settings.batch_size * model.max_length >= 500_000
        return settings.steps * settings.batch_size * model.max_length

    for run, wanted in (
        ("primary_only", PAPER["python"]),
        ("new_only", PAPER[new]),
        ("continual", PAPER[new]),
        ("mix_0.5000", PAPER["python"] + PAPER[new]),
        ("multilingual", sum(PAPER.values())),
        ("multilingual_optimized", sum(PAPER.values()) - 18e9 - 6e9),
    ):
        assert tokens(run) == pytest.approx(wanted, rel=1e-4), run
    continual = kept_steps(study.config_of(study.name("continual"), 0))
    assert {0, 1, 2} <= set(continual) and len([step for step in continual if step < 1000]) > 15


def test_a_corpus_of_another_vocabulary_is_refused(monkeypatch):
    config = load_config(f"{ROOT}/configs/gpt2.py:1b3", ["--config.corpus=somewhere"])
    opened = dataclasses.replace(small_material(), vocab_size=8192, max_length=2048)
    monkeypatch.setattr(plan, "corpus_material", lambda *arguments: opened)
    with pytest.raises(UserError, match="wants vocab_size=50304 and the corpus somewhere has 8192"):
        plan.load_materials(config, 0)
    other = load_config(f"{ROOT}/configs/gpt2.py:1b3", ["--config.corpus=c", "--config.vocab_size=8192"])
    assert plan.load_materials(other, 0)[other.new] is opened


def test_a_corpus_in_a_bucket_is_refused():
    config = load_config(f"{ROOT}/configs/gpt2.py:1b3", ["--config.corpus=gs://bucket/corpus"])
    with pytest.raises(UserError, match="copy it to a disk of every host, or mount it"):
        plan.load_materials(config, 0)


def test_no_seed_of_the_regret_study_is_in_two_cells_or_was_a_prototypes():
    """And its sweep brackets what the prototypes' continual runs peaked at, at every budget."""
    module = runpy.run_path(f"{ROOT}/configs/regret.py")
    seeds = [seed for variant in module["VARIANTS"].values() for seed in module["seeds"](*variant)]
    assert len(set(seeds)) == len(seeds) == 33 * 5 and min(seeds) >= 3000
    assert set(module["FIRST"]) <= set(module["VARIANTS"]) and len(module["FIRST"]) >= 8
    for steps in module["BUDGETS"]:
        tokens = [share * steps * module["STEP_TOKENS"] for share in module["sweep"](steps)]
        assert tokens == sorted(tokens) and min(tokens) < module["PEAK"] / 2 and max(tokens) > 2 * module["PEAK"]
