"""Two models that are not ours, as probes/README.md shows them, with our weights: the probes read the same integers off them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import loud
from helpers.decoders import small
from helpers.recipes import created

from babel_jax.common.errors import UserError
from babel_jax.measuring import sampling
from babel_jax.measuring.greedy import generate, jitted_generation
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.protocol import Model
from babel_jax.model.taps import NOTHING, Edit, Inside, TapRequest
from babel_jax.probes import ablation, attribution, centroid, edits, forward, interventions, tuned_lens
from babel_jax.probes.subject import Subject

END = 3
PRECISION = dict(rtol=2e-4, atol=2e-5)
SHAPES = ("layers", "width", "ffn_width", "vocab_size", "max_length")


def module(name):
    return created("To add a model of your own", name)


def llama():
    ours = small("llama")
    params = loud(ours)
    blocks = {name: leaf["kernel"] for name, leaf in params["blocks"].items() if "kernel" in leaf}
    names = {"q": "q", "k": "k", "v": "v", "gate": "ffn_gate", "up": "ffn_in", "down": "ffn_out"}
    theirs = {name: blocks[ours_name] for name, ours_name in names.items()}
    theirs["o"] = blocks["attention_out"].reshape(ours.layers, ours.heads, ours.head_width, ours.width)
    theirs |= {f"norm_{half}": params["blocks"][f"ln_{half}"]["scale"] for half in (1, 2)}
    theirs = {"embed": params["embed_table"], "norm": params["ln_f_scale"], "head": params["head"], "blocks": theirs}
    model = module("my_llama.py").Llama(**{name: getattr(ours, name) for name in SHAPES})
    return Subject(params, ours, END, 4), Subject(theirs, model, END, 4)


def gpt():
    ours = DecoderConfig(vocab_size=48, width=16, layers=3, heads=4, ffn_width=24, max_length=12, tied_head=False)
    params = loud(ours)
    shapes = {name: getattr(ours, name) for name in SHAPES}
    mine = module("my_gpt.py")
    graph, state = nnx.split(mine.Gpt(**shapes, heads=ours.heads, rngs=nnx.Rngs(0)))
    state = nnx.to_pure_dict(state)
    for layer in range(ours.layers):
        state["blocks"][layer] = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["blocks"])
    state["embed"]["embedding"], state["position"]["embedding"] = params["embed_table"], params["embed_position"]
    state["ln_f"] = {"scale": params["ln_f_scale"], "bias": params["ln_f_bias"]}
    state["head"]["kernel"] = params["head"].T
    return Subject(params, ours, END, 4), Subject(state, mine.AsModel(graph, **shapes), END, 4)


@pytest.fixture(scope="module", params=[llama, gpt])
def both(request):
    return request.param()


def rows(seed, n):
    rng = np.random.default_rng(seed)
    return {"tokens": rng.integers(0, 48, (n, 13)), "loss": np.ones((n, 12)), "knowledge": rng.random((n, 12)) < 0.3}


def slots(seed, n):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(4, 48, (n, 12)),
        "position": rng.integers(0, 12, n),
        "primary_id": rng.integers(0, 24, n),
        "new_id": rng.integers(24, 48, n),
    }


HELDOUT, SLOTS = {"a": rows(1, 6), "b": rows(2, 7)}, {"a": slots(3, 5), "b": slots(4, 6)}


def test_counts_lens_and_losses_are_ours(both):
    ours, theirs = (forward.measure(subject, HELDOUT, SLOTS, forward.AT_SLOTS) for subject in both)
    np.testing.assert_array_equal(theirs.active_RxLxFxK, ours.active_RxLxFxK)
    np.testing.assert_array_equal(theirs.tokens_RxK, ours.tokens_RxK)
    np.testing.assert_allclose(theirs.activation_sum_RxLxFxK, ours.activation_sum_RxLxFxK, rtol=1e-3, atol=1e-3)
    for language in SLOTS:
        ours_here, theirs_here = ours.slots[language], theirs.slots[language]
        for name in ("argmax_LxN", "primary_rank_LxN", "new_rank_LxN"):
            np.testing.assert_array_equal(getattr(theirs_here, name), getattr(ours_here, name))
        for name in ("new_log_prob_LxN", "entropy_LxN", "ffn_LxNxF", "residual_LxNxD", "sentence_LxNxD"):
            np.testing.assert_allclose(getattr(theirs_here, name), getattr(ours_here, name), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(theirs.rows[language].loss_sum, ours.rows[language].loss_sum, rtol=1e-4)


def test_generation_is_ours(both):
    """Greedy with and without an edit, and the sampler, whose rows of a prompt share what was read."""
    prompts, length = rows(5, 6)["tokens"][:, :6], np.array([1, 2, 3, 4, 5, 6])
    without = edits.edit("zero", np.arange(24) % 2 * np.ones((both[0].model.layers, 1)) > 0)
    for edit in (None, without):
        ours, theirs = (generate(subject, prompts, length, 5, stop_id=END, edit=edit) for subject in both)
        np.testing.assert_array_equal(theirs, ours)
    assert (generate(both[1], prompts, length, 5, edit=None) != theirs).any()
    how = sampling.Sampling(new_tokens=6, samples=2, temperature=0.7)
    texts = [row[:n] for row, n in zip(prompts, length, strict=True)]
    ours, theirs = (sampling.write(subject, texts, how) for subject in both)
    np.testing.assert_equal(theirs, ours)


def test_interventions_and_scores_are_ours(both):
    zero = edits.edit("zero", edits.neuron_set(both[0].model, [(0, 5), (1, 7), (1, 8)]))
    for change in (None, zero):
        ours, theirs = (interventions.slot_scores(subject, SLOTS["a"], "new", change) for subject in both)
        np.testing.assert_array_equal(theirs["accuracy"], ours["accuracy"])
        np.testing.assert_allclose(theirs["margin"], ours["margin"], rtol=1e-3, atol=1e-3)
    for score in (
        lambda subject: attribution.gradient_scores(subject, HELDOUT, ["a", "b"]),
        lambda subject: ablation.causal_scores(subject, SLOTS["a"], shortlist=8, random=2).score_LxF,
        lambda subject: centroid.transfer_scores(subject, SLOTS["b"], None, "centroid_type2"),
    ):
        ours, theirs = map(score, both)
        np.testing.assert_allclose(theirs, ours, rtol=2e-3, atol=1e-5)
        assert np.abs(np.nan_to_num(ours)).max() > 1e-3
    tokens, positions = rows(6, 2)["tokens"][:, :12], np.array([[3], [4]])
    ours, theirs = (interventions.patch(subject, tokens[::-1], tokens, 0, positions) for subject in both)
    np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-3)
    ours, theirs = (tuned_lens.train(subject, rows(7, 8)["tokens"][:, :12], 2, 4).kl_after_L for subject in both)
    np.testing.assert_allclose(theirs, ours, rtol=1e-3)


def test_one_executable_serves_all_its_checkpoints(both):
    _, subject = both
    jitted_generation.cache_clear()
    forward.jitted_pass.cache_clear()
    for scale in (1.0, 0.5):
        params = jax.tree.map(lambda leaf, scale=scale: leaf * scale, subject.params)
        here = dataclasses.replace(subject, params=params)
        forward.measure(here, HELDOUT, {})
        generate(here, HELDOUT["a"]["tokens"][:, :4], [4] * 6, 3)
    _, _, everywhere = subject.placed()
    assert forward.jitted_pass(subject.model, END, (), everywhere, "activation")._cache_size() == 1
    assert jitted_generation(subject.model, 3, -1, everywhere)._cache_size() == 1


@dataclasses.dataclass(frozen=True)
class Bare(Model):
    """As little as a model can be."""

    layers: int = 2
    width: int = 4
    ffn_width: int = 4
    vocab_size: int = 8
    max_length: int = 6
    silent: bool = False

    def forward(self, params, tokens_BxT, segment_BxT, inside=NOTHING):
        def block(h, w, hook):
            return h if self.silent else h + hook.neurons(h, h @ w, jax.nn.relu(h @ w), before_write_BxTxD=2 * h)

        return inside.through(block, params["embed"][tokens_BxT], params["blocks"])

    def readout(self, params, mesh=None):
        return lambda h: h @ params["embed"].T


PARAMS = {"embed": jnp.arange(32.0).reshape(8, 4) / 32 - 0.5, "blocks": jnp.ones((2, 4, 4)) / 4}


def test_what_it_does_not_bring_is_said():
    subject = Subject(PARAMS, Bare(), batch_size=2)
    asked = {"tokens": np.ones((2, 6), np.int32), "position": np.array([2, 3])}
    with pytest.raises(UserError, match="Bare does not say what its neurons write"):
        centroid.transfer_scores(subject, asked, None, "centroid_type2")
    with pytest.raises(TypeError, match=r"has not called `hook.neurons`"):
        interventions.run(dataclasses.replace(subject, model=Bare(silent=True)), asked["tokens"])


def test_a_list_of_layers_and_a_leading_axis_are_the_same():
    tokens = np.array([[1, 2, 3, 4, 5, 6]])
    positions = np.array([[0, 5]])
    request = TapRequest(positions_BxP=positions, middle_at_positions=True, ffn_at_positions=True)
    edit = Edit(multiply_LxF=np.array([[1.0, 0, 1, 1], [1, 1, 2, 1]]), add_LxF=np.zeros((2, 4)))
    listed = PARAMS | {"blocks": list(PARAMS["blocks"])}
    found = [Bare().forward(params, tokens, tokens * 0, Inside(request, edit)) for params in (PARAMS, listed)]
    jax.tree.map(np.testing.assert_allclose, *found)
    taps = found[0][1]
    assert taps["ffn_LxBxPxF"].shape == (2, 1, 2, 4) and not taps["ffn_LxBxPxF"][0, :, :, 1].any()
    np.testing.assert_allclose(taps["before_write_LxBxPxD"], 2 * taps["middle_LxBxPxD"])
    np.testing.assert_array_equal(taps["embedded_BxPxD"], PARAMS["embed"][tokens[:, positions[0]]])
