"""What a probe writes down of what it read."""

import dataclasses
import json

import numpy as np
from helpers import small_material
from helpers.decoders import SMALL_ONES

from babel_jax.common.material import Parallel
from babel_jax.measuring import probe_record
from babel_jax.measuring.probe_walk import Options
from babel_jax.model import flops
from babel_jax.probes import lens

MATERIAL = small_material()


def recorded(material=MATERIAL, model=SMALL_ONES["llama"]):
    record = probe_record.record(model, material, Options(interventions=("zero",)))
    assert json.loads(json.dumps(record, allow_nan=False)) == record | {
        "options": record["options"] | {"definitions": [], "interventions": ["zero"], "restore": []}
    }
    return record


def test_model_texts_and_options_stand_in_it():
    model = SMALL_ONES["llama"]
    record = recorded()
    assert record["model"]["family"] == "llama" and record["model"]["layers"] == model.layers
    assert record["model"]["matmul_parameters"] == flops.matmul_parameters(model)
    assert set(record["texts"]) == {"python", "php"} and record["primary"] == "python"
    of = record["texts"]["php"]
    assert (of["rows"], of["tokens"]) == np.shape(MATERIAL.heldout["php"]["loss"])[:1] + (
        MATERIAL.heldout["php"]["loss"].sum(),
    )
    assert of["bytes"] is None and of["prompts"] == len(MATERIAL.slots["php"]["position"])
    assert record["options"]["interventions"] == ("zero",)


def test_pairs_have_the_names_that_the_lens_looks_for():
    slots = MATERIAL.slots["php"]
    of = recorded()["texts"]["php"]
    kept_N = lens.distinguished(slots, whole=False)
    assert [pair != -1 for pair in of["pair_N"]] == kept_N.tolist()
    assert sum(pair["prompts"] for pair in of["pairs"]) == kept_N.sum() > 0
    for pair in of["pairs"]:
        place = of["pair_N"].index(pair["pair"])
        assert pair["primary"] == MATERIAL.token_text(slots["primary_id"][place])
        assert pair["new"] == MATERIAL.token_text(slots["new_id"][place]) != pair["primary"]


def test_ids_stand_for_names_that_nobody_knows():
    (first, *_) = recorded(dataclasses.replace(MATERIAL, token_text=None))["texts"]["php"]["pairs"]
    assert first["primary"].startswith("#") and first["new"].startswith("#")


def test_bytes_of_tokens_that_count_are_summed():
    heldout = {name: rows | {"bytes": np.full(np.shape(rows["loss"]), 2.0)} for name, rows in MATERIAL.heldout.items()}
    of = recorded(dataclasses.replace(MATERIAL, heldout=heldout))["texts"]["php"]
    assert of["bytes"] == 2 * of["tokens"]


def test_without_prompts_there_are_no_pairs():
    of = recorded(dataclasses.replace(MATERIAL, slots={}))["texts"]["php"]
    assert (of["prompts"], of["pairs"], of["pair_N"]) == (0, [], [])


def test_questions_are_counted_by_language_and_task():
    tasks = MATERIAL.tasks
    sentences = Parallel("php", "python", {}, {"python": np.full(7, 3), "php": np.full(7, 4)})
    asked = dataclasses.replace(MATERIAL, problems=None).asking({"php": tasks, "python": {"retrieval": sentences}})
    assert recorded(asked)["tasks"] == {
        "php": {name: len(task.transfer_Q) for name, task in tasks.items()},
        "python": {"retrieval": 7},
    }
    assert recorded()["tasks"] == {}, "a probe of the embedded world asks none"
