"""What models of some families train to, count and write on the devices at hand: the same on one, on eight, on two hosts."""

import jax
import numpy as np

from babel_jax.measuring.sampling import Sampling, write
from babel_jax.model.placement import abstract_params
from babel_jax.model.sharding import make_mesh
from babel_jax.probes import forward
from babel_jax.probes.subject import Subject
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer
from helpers import loud, random_rows
from helpers.decoders import small
from helpers.passes import END, HELDOUT, SLOTS
from helpers.steps import NO_SPIKES, settings

FAMILIES = ("llama", "gpt_neox", "olmo2")  # GPT-2's have tests of their own
OPTIMIZER = static_settings(
    settings(epsilon=1e-2)
)  # then Adam does not blow rounding up where a gradient is almost zero


def everything(family: str, data: int = 1, fsdp: int = 1, tensor: int = 1) -> dict:
    """As JSON values: losses of three steps, what is counted and read, and what is written."""
    # Two queries share a key of Llama's and OLMo 2's, so that on four devices of the axis `tensor` each holds both keys.
    config = small(family, layers=2, max_length=8, **{"kv_heads": 4} if family == "gpt_neox" else {})
    mesh = make_mesh(data, fsdp, tensor)
    trainer = make_trainer(config, OPTIMIZER, END, mesh)
    state = trainer.fresh(jax.device_put(loud(config, scale=0.2), trainer.state_shardings["params"]))
    hyper = trainer.put({name: np.float32(0.02) for name in ("learning_rate", "label_smoothing")} | NO_SPIKES)
    rows, losses = random_rows(8, config.vocab_size, config.max_length), []
    for _ in range(3):
        batch = trainer.put_batch(lambda offsets: rows[offsets], len(rows))
        state, metrics = trainer.step(state, batch, trainer.put(np.ones(config.vocab_size, np.float32)), hyper)
        losses.append(float(jax.block_until_ready(metrics)["loss"]))  # devices that are steps apart can lock up
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract_params(config, mesh))
    subject = Subject(jax.device_put(loud(config), places), config, END, batch_size=8)
    measured = forward.measure(subject, HELDOUT, SLOTS)
    found = {
        "losses": losses,
        "active": measured.active_RxLxFxK.tolist(),
        "tokens": measured.tokens_RxK.tolist(),
        "heldout": {name: sums.loss_sum.tolist() for name, sums in measured.rows.items()},
        "lens": {name: readings.primary_log_prob_LxN.tolist() for name, readings in measured.slots.items()},
    }
    if fsdp == 1:  # the longest to compile, and what is new to a cache is the axis `tensor`
        prompts = [row[: 1 + number % 4] for number, row in enumerate(SLOTS["b"]["tokens"])]
        found["written"] = [ids.tolist() for (ids,) in write(subject, prompts, Sampling(new_tokens=4))]
    return found


def compare(one: dict, several: dict, what: str) -> None:
    """The same integers; losses and log-probabilities to rounding."""
    for name in {"active", "tokens", "written"} & several.keys():
        assert one[name] == several[name], (what, name)
    np.testing.assert_allclose(one["losses"], several["losses"], atol=1e-5, err_msg=what)
    for name in ("heldout", "lens"):
        for language, values in one[name].items():
            np.testing.assert_allclose(values, several[name][language], atol=1e-4, err_msg=f"{what} {name}")
