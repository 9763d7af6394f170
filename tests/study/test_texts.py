"""What the verb `probe` reads of a model with a tokenizer of its own: loose texts, or prompts alone."""

import dataclasses
import json

import numpy as np
import pytest
from helpers import hub_server, loose_files, loud, spoken
from helpers.decoders import small
from helpers.hub_models import files_of, hub_here  # noqa: F401

from babel_jax.__main__ import main
from babel_jax.common import measurements
from babel_jax.common.errors import UserError
from babel_jax.corpus import loose_texts, manifest
from babel_jax.evolution import probe_findings
from babel_jax.measuring import probe_walk, walk
from babel_jax.model.model_folders import write_model
from babel_jax.model.tokenizer_files import TokenizerFiles
from babel_jax.study import plan, texts
from babel_jax.study.texts import ProbeTexts, tokenizer_of
from babel_jax.training import foreign

CONFIG = small("llama", vocab_size=512, max_length=40)  # its table has more rows than the tokenizer has ids
VOCABULARY = {"tokenizer.json": loose_files.vocabulary().to_str().encode()}
FEW = dict(rows=20, row_tokens=32, prompt_tokens=20, prompts_per_pair=4)


def imported(place, contents=VOCABULARY, seed=0):
    write_model(place / "hf", CONFIG, loud(CONFIG, seed), TokenizerFiles(contents, {"eos_token_id": 0}))
    foreign.import_run(place / "hf", place / "runs" / "model")
    return walk.OwnRun(place / "runs" / "model")


@pytest.fixture
def loose(tmp_path):
    return loose_texts.of(loose_files.write(tmp_path / "texts"))


def rows_of(place, **where):
    frame = measurements.read(place)
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame


def test_an_imported_model_is_probed_on_files(tmp_path, loose, capsys):
    source = imported(tmp_path)
    asked = ProbeTexts(texts=loose, **FEW)
    (place,) = probe_walk.probe([source], asked, tmp_path / "out")
    assert set(rows_of(place, metric="bits_per_byte")["language"]) == {"python", "php"}
    assert len(rows_of(place, metric="primary_share_pair"))
    about = json.loads((place / "probed.json").read_text())["about"]
    assert about["pairs"]["python-php"]["prompts"]["php"][0] == 4
    said = capsys.readouterr().err
    assert "Python: 20 rows of 32 tokens" in said and "prompts in PHP, of 3 of 21 pairs" in said
    # The same files of the same model: nothing is measured again, and the texts are not read again for a second run.
    material, sha = asked(source)
    assert asked(imported(tmp_path / "second"))[0] is material and sha == tokenizer_of(source).sha
    (arrays,) = place.glob("step_*.npz")
    before = arrays.stat().st_mtime_ns
    probe_walk.probe([source], ProbeTexts(texts=loose, **FEW), tmp_path / "out")
    assert arrays.stat().st_mtime_ns == before
    with pytest.raises(UserError, match="material"):
        probe_walk.probe([source], ProbeTexts(texts=loose, **FEW | {"rows": 10}), tmp_path / "out")


@pytest.fixture(scope="module")
def asked_of_spoken(tmp_path_factory):
    """(the model, what it is asked about texts of two natural languages, the files of parallel sentences)."""
    place = tmp_path_factory.mktemp("spoken")
    config = small("llama", vocab_size=512, max_length=128)
    vocabulary = {"tokenizer.json": spoken.vocabulary().to_str().encode()}
    write_model(place / "hf", config, loud(config, 0), TokenizerFiles(vocabulary, {"eos_token_id": 0}))
    foreign.import_run(place / "hf", place / "runs" / "model")
    languages, files = {}, []
    for (name, definition), words in zip(spoken.definitions().items(), (spoken.THERE, spoken.HERE), strict=True):
        (place / name).mkdir()
        for number, document in enumerate(spoken.documents(words, each=12)):
            (place / name / f"{number}.txt").write_text(document.text)
        languages[name] = {"sources": [str(place / name)], "definition": definition}
        (place / f"{name}.lines").write_text(
            "".join(f"The {word} is number {n} of these.\n" for n, word in enumerate(words))
        )
        files.append(f"{name}={place / name}.lines")
    (place / "texts.json").write_text(json.dumps({"languages": languages}))
    amounts = dict(rows=8, row_tokens=96, prompt_tokens=48, prompts_per_pair=2)
    return (
        walk.OwnRun(place / "runs" / "model"),
        dict(texts=manifest.load(str(place / "texts.json")), **amounts),
        ",".join(files),
    )


def test_tasks_are_asked_in_every_language_and_sentences_are_looked_for(tmp_path, asked_of_spoken):
    source, how, files = asked_of_spoken
    (place,) = probe_walk.probe([source], ProbeTexts(**how, parallel=files), tmp_path / "out")
    for language in ("old", "young"):
        for metric in ("task_word", "task_word_copied", "task_cloze", "bits_per_byte_word", "bits_per_byte_cloze"):
            (row,) = (
                rows_of(place, metric=metric, language=language).query("options.str.contains('all')").to_dict("records")
            )
            assert np.isfinite([row["value"], row["ci_low"], row["ci_high"]]).all(), (language, metric)
    assert set(rows_of(place, metric="retrieval")["layer"]) == {-1, *range(1, source.opened(0).model.layers + 1)}
    assert set(rows_of(place, metric="task_retrieval")["language"]) == {"young"}
    asked = json.loads((place / "probed.json").read_text())["tasks"]
    assert asked["young"].keys() == {"word", "cloze", "retrieval"} and asked["old"].keys() == {"word", "cloze"}
    assert asked["young"]["retrieval"] == 60
    (branch,) = probe_findings.read(tmp_path / "out").branches
    assert {name for name, _ in branch.tasks.scores} >= {"word", "word_copied", "cloze", "retrieval"}
    with pytest.raises(UserError, match="material"):  # without the sentences it is another probe
        probe_walk.probe([source], ProbeTexts(**how), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.replace("young=", "yung="), "unknown language of --parallel 'yung'; did you mean 'young'"),
        (lambda files: files.replace("old=", "none="), "unknown language of --parallel 'none'"),
        (lambda files: files.partition(",")[2] + ",x=" + files.partition("=")[2].partition(",")[0], "unknown language"),
    ],
)
def test_sentences_of_other_languages_are_refused(asked_of_spoken, change, message):
    source, how, files = asked_of_spoken
    with pytest.raises(UserError, match=message):
        ProbeTexts(**how, parallel=change(files))(source)


def test_identifiers_are_read_in_every_mode_and_languages_are_chosen(tmp_path, loose):
    source = imported(tmp_path)
    material, _ = ProbeTexts(texts=loose, languages=("php", "python"), identifiers="prefix", **FEW)(source)
    assert (material.primary, material.new) == ("php", "python")
    assert {"primary_ids", "new_ids"} <= set(material.slots["python"])
    with pytest.raises(UserError, match="unknown language of the texts 'pyton'; did you mean 'python'"):
        ProbeTexts(texts=loose, languages=("php", "pyton"), **FEW)(source)


LINES = (
    {"language": "python", "text": "size_1 = ", "primary": "len", "new": "strlen"},
    {"language": "php", "text": "$size_1 = ", "primary": "len", "new": "strlen"},
    {"language": "php", "text": "$x = ", "primary": "None", "new": "null"},
    {"language": "python", "text": "x = ", "primary": "None", "new": "null"},
)


def written(place, lines):
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(place)


def test_prompts_of_ones_own_need_no_texts(tmp_path):
    source = imported(tmp_path)
    asked = ProbeTexts(prompts=written(tmp_path / "prompts.jsonl", LINES), languages=("python", "php"))
    (place,) = probe_walk.probe([source], asked, tmp_path / "out")
    assert set(rows_of(place, metric="primary_share_pair")["language"]) == {"python", "php"}
    # Nothing is said of what was not read.
    assert set(rows_of(place)["probe"]) <= {"lens", "working_language"}
    with pytest.raises(UserError, match="name them: --languages=PRIMARY,NEW"):
        dataclasses.replace(asked, languages=())(source)


def test_prompts_of_token_ids_need_no_tokenizer(tmp_path):
    source = imported(tmp_path, {})
    lines = [{"language": name, "tokens": [5, 6, 7], "primary": 8, "new": 9} for name in ("python", "php")]
    asked = ProbeTexts(prompts=written(tmp_path / "prompts.jsonl", lines), languages=("python", "php"))
    material, sha = asked(source)
    assert sha is None and material.slots["php"]["new_id"].tolist() == [9] and material.document_end == -1
    with pytest.raises(UserError, match="holds no tokenizer.json and no tokenizer.model"):
        tokenizer_of(source)


def test_prompts_beside_texts_take_the_place_of_those_that_are_mined(tmp_path, loose, monkeypatch):
    monkeypatch.setattr(loose_texts.call_sites.Miner, "add", lambda *_: 1 / 0)
    asked = ProbeTexts(texts=loose, prompts=written(tmp_path / "prompts.jsonl", LINES), **FEW)
    material, _ = asked(imported(tmp_path))
    assert len(material.slots["php"]["position"]) == 2 and len(material.heldout["php"]["tokens"]) == 20


def test_a_prompt_begins_as_the_model_expects(tmp_path):
    settings = json.loads(VOCABULARY["tokenizer.json"])
    mark = {"id": 500, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False}
    settings["added_tokens"].append(mark | {"normalized": False})
    contents = {
        "tokenizer.json": json.dumps(settings).encode(),
        "tokenizer_config.json": b'{"add_bos_token": true, "bos_token": "<s>"}',
    }
    asked = ProbeTexts(prompts=written(tmp_path / "prompts.jsonl", LINES), languages=("python", "php"), prompt_tokens=3)
    slots = asked(imported(tmp_path, contents))[0].slots["php"]
    assert (slots["tokens"][:, 0] == 500).all() and slots["position"].tolist() == [2, 2]
    plain = asked(imported(tmp_path / "plain"))[0].slots["php"]
    np.testing.assert_array_equal(slots["tokens"][:, 1:], plain["tokens"][:, 1:])


def test_whose_tokenizer_it_is(tmp_path, monkeypatch):
    run = tmp_path / "study" / "seed0" / "continual"
    run.mkdir(parents=True)
    config = plan.default()
    monkeypatch.setattr(texts, "study_config", lambda run_dir, instead: config)
    with pytest.raises(UserError, match="is of the embedded world, whose tokens are no text"):
        tokenizer_of(walk.OwnRun(run))
    config.kind, config.corpus = "real_code", str(tmp_path / "corpus")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "tokenizer.json").write_bytes(VOCABULARY["tokenizer.json"])
    assert tokenizer_of(walk.OwnRun(run)).vocab_size == 500


def test_a_series_is_probed_on_files_with_the_tokenizer_beside_its_weights(hub_here, tmp_path, capsys):  # noqa: F811
    folders, beside = loose_files.write(tmp_path / "texts"), TokenizerFiles(VOCABULARY, {"eos_token_id": 0})
    revisions = {f"step{step}": files_of(tmp_path / str(step), CONFIG, step, beside) for step in (0, 8)}
    hub_here.repositories["org/tiny"] = hub_server.Repository(revisions | {"main": {"README.md": b""}})
    named = ["--huggingface=org/tiny", "--revisions=step*", "--tokens_per_step=512"]
    given = [f"--texts=python={folders['python']},php={folders['php']}"]
    given += [f"--{name}={value}" for name, value in FEW.items()]
    assert main(["probe", *named, *given, f"--out={tmp_path / 'out'}"]) == 0
    (tmp_path / "runs").mkdir()
    for step in (0, 8):
        foreign.import_run(tmp_path / str(step), tmp_path / "runs" / "model", step, step * 512)
    asked = ProbeTexts(texts=loose_texts.of(folders), **FEW)
    (own,) = probe_walk.probe([walk.OwnRun(tmp_path / "runs" / "model")], asked, tmp_path / "own")
    there = rows_of(tmp_path / "out" / "tiny" / "checkpoints")
    values = ["step", "probe", "language", "layer", "metric", "value"]
    assert there[values].equals(rows_of(own)[values]) and set(there["step"]) == {0, 8}


@dataclasses.dataclass
class Built:
    """As much of a corpus as is asked of it here."""

    directory: str
    tokenizer: object


def test_a_corpus_of_another_tokenizer_is_refused(tmp_path):
    source = imported(tmp_path)
    own = tokenizer_of(source)
    other = texts.of_files({"tokenizer.json": loose_files.vocabulary(480).to_str().encode()})
    respelt = texts.of_files({"tokenizer.json": loose_files.vocabulary().to_str(pretty=True).encode()})
    for fits in (own, respelt):
        texts._check_same_tokenizer(source, Built("corpus", fits))
    with pytest.raises(UserError, match="corpus was built with another tokenizer than the one that came with"):
        texts._check_same_tokenizer(source, Built("corpus", other))
