"""Models in a notebook: load one from anywhere, read it with all probes, change it, let it write. `import babel_jax` offers it:

    import babel_jax

    model = babel_jax.load("runs/tiny/seed0/continual")        # or a Hugging Face folder, or OWNER/NAME@REVISION of the hub
    result = babel_jax.probe(model, texts={"python": "src/", "php": "web/"})
    result.working_language, result.neurons, result.losses     # data frames
    result.plot()
    without = babel_jax.ablate(model, babel_jax.neurons(result, language="php"))
    without.losses(result) - model.losses(result), without.generate("def ")

Letters as in `model/decoder.py`; K languages. Layers and neurons count from 0 in all arguments and in `neurons`; only the column
`layer` of measurements counts from 1, as in all tables of this package (-1: over all layers).
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from babel_jax.common import files
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.material import Material
from babel_jax.corpus import loose_texts
from babel_jax.corpus.loose_texts import Amounts
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.measuring import greedy, instruments, probe_walk, walk
from babel_jax.measuring.probe_walk import Options
from babel_jax.measuring.reading import subject_of
from babel_jax.measuring.walk import OwnRun
from babel_jax.model import hub, model_folders, placement, tokenizer_files
from babel_jax.model.edited import EditedParams, edited
from babel_jax.model.protocol import Model
from babel_jax.model.tokenizer_files import TokenizerFiles
from babel_jax.probes import edits, interventions, lape, parts
from babel_jax.probes.definitions import neuron_sets
from babel_jax.probes.subject import Subject
from babel_jax.report.probed import Probed, measured
from babel_jax.study import texts as study_texts
from babel_jax.training import foreign

SPECIFIC = "specific"


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model with its parameters and all that it takes to read and write texts with it.

    One of your own needs the first two: `LoadedModel(MyModel(…), params)`, see probes/README.md.

    Attributes:
      model: its shapes and functions; of models that `load` returns a `DecoderConfig`.
      params: its parameters, a tree of arrays, on any devices.
      tokenizer: None: it reads and writes token ids.
      name: what tables call it; step: of its training.
      run: the run of ours that it is of, or None.
    """

    model: Model
    params: Any
    tokenizer: Tokenizer | None = None
    name: str = "model"
    step: int = 0
    run: OwnRun | None = None

    def __repr__(self):
        m = self.model
        return (
            f"<{self.name}, step {self.step}: {m.layers} layers of width {m.width} and {m.ffn_width} neurons, vocabulary of "
            f"{m.vocab_size}, {m.max_length} positions>"
        )

    @property
    def document_end(self) -> int:
        """The id that ends a document; -1: not known."""
        return -1 if self.tokenizer is None else self.tokenizer.document_end

    def subject(self, batch_size: int | None = None) -> Subject:
        """What the functions of probes/ are given."""
        batch_size = batch_size or placement.batch_rows(self.params, self.model.max_length)
        return Subject(self.params, self.model, self.document_end, batch_size)

    def tokens(self, text: str) -> np.ndarray:
        """The ids of a text, int32 [T], behind the mark that the model expects before one.

        Raises:
          UserError: the model has no tokenizer.
        """
        if self.tokenizer is None:
            raise UserError(f"{self.name} has no tokenizer; give token ids.")
        begin = [] if self.tokenizer.begin is None else [self.tokenizer.begin]
        return np.array([*begin, *self.tokenizer.encode(text)], np.int32)

    def logits(self, tokens_BxT) -> np.ndarray:
        """Logits [B, T, V], float32: of what comes behind each token.

        Args:
          tokens_BxT: ids, or one text (B is 1).

        Raises:
          UserError: ids of another vocabulary, rows longer than the model reads.
        """
        tokens_BxT = self.tokens(tokens_BxT)[None] if isinstance(tokens_BxT, str) else np.asarray(tokens_BxT)
        missing = -len(tokens_BxT) % placement.devices_of_rows(self.params)
        filled = np.pad(tokens_BxT, ((0, missing), (0, 0)))  # one row is too few for several devices
        return np.asarray(interventions.run(self.subject(), filled))[: len(tokens_BxT)]

    def losses(self, texts, **amounts) -> pd.DataFrame:
        """Held-out losses by language: `loss` in nats a token and, where the texts' bytes are known, `bits_per_byte`.

        Args:
          texts: a result of `probe`, whose rows are read; or texts as `probe` takes them, with the same `amounts`.

        Returns:
          A row a language.
        """
        material, rows = _material(self, texts, **amounts), {}
        subject = subject_of(self.params, self.model, material)
        for language, here in material.heldout.items():
            inputs = interventions.loss_inputs(self.model, here, material.document_end)
            nats = interventions.score_rows(subject, inputs, [None])[0]["loss_sum"].sum()
            rows[language] = {"loss": nats / inputs["loss"].sum()}
            if "bytes" in here:
                rows[language]["bits_per_byte"] = nats / np.log(2) / (here["bytes"] * inputs["loss"]).sum()
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")

    def generate(self, prompts, new_tokens: int = 32):
        """The most probable continuation of each prompt, up to where a document ends.

        Args:
          prompts: a text or ids [T], or a list of them.

        Returns:
          Texts of texts, ids int32 of ids; one where there is one prompt.

        Raises:
          UserError: an empty prompt, or one that leaves no room for the new tokens.
        """
        alone = isinstance(prompts, str) or np.ndim(prompts[0]) == 0 and not isinstance(prompts[0], str)
        listed = [prompts] if alone else list(prompts)
        ids = [self.tokens(one) if isinstance(one, str) else np.asarray(one, np.int32) for one in listed]
        length_N = np.array([len(one) for one in ids])
        prompt_NxT = np.zeros((len(ids), length_N.max()), np.int32)
        for row, one in zip(prompt_NxT, ids, strict=True):
            row[: len(one)] = one
        subject = self.subject(len(ids) + -len(ids) % placement.devices_of_rows(self.params))
        written_NxS = greedy.generate(subject, prompt_NxT, length_N, new_tokens, stop_id=self.document_end)
        written = []
        for asked, tokens_S in zip(listed, written_NxS, strict=True):
            ends = np.flatnonzero(tokens_S == self.document_end)
            kept = tokens_S[: ends[0]] if ends.size else tokens_S
            written.append(self.tokenizer.decode(kept.tolist()) if isinstance(asked, str) else kept)
        return written[0] if alone else written


# --- where models come from ----------------------------------------------------------------------------------------------


def load(place: str | os.PathLike, step: int | None = None) -> LoadedModel:
    """A model with its parameters and its tokenizer.

    Args:
      place: a run of ours or an imported one; a folder that `save_pretrained` of transformers wrote; or a model of the hub,
        OWNER/NAME or OWNER/NAME@REVISION, which is fetched into huggingface_hub's cache.
      step: of a run: which checkpoint; the last one by default.

    Raises:
      UserError: there is no model, no such step, or files that cannot be read.
    """
    at = files.path(place)
    if (at / "checkpoints").exists():
        return _of_run(OwnRun(at), step)
    if step is not None:
        raise UserError(
            f"{place} is not a run, so it has no step {step}; leave it out, or name a revision: OWNER/NAME@REVISION."
        )
    if hub.parsed(place) is None and not at.exists():
        raise UserError(
            f"{place} is neither a run, nor a folder with a model, nor OWNER/NAME[@REVISION] of the hub; correct it."
        )
    folder = hub.folder(place)
    config, params = model_folders.read_model(folder, foreign.mesh_of)
    kept = tokenizer_files.read(folder)
    tokens = model_folders.read_config(folder)
    tokenizer = _tokenizer(TokenizerFiles(kept, tokens), place)
    return LoadedModel(walk.as_computed_here(config), params, tokenizer, os.fspath(place))


def _of_run(run: OwnRun, step: int | None) -> LoadedModel:
    chosen = walk.LAST if step is None else (step,)
    (checkpoint,) = walk.checkpoints(run, chosen)
    here = walk.restored(checkpoint)
    if here is None:
        raise UserError(f"checkpoint {checkpoint.step} of {run} was deleted meanwhile; load another.")
    return LoadedModel(here.model, here.params, _tokenizer_of(run), run.name, here.step, run)


def _tokenizer_of(run: OwnRun) -> Tokenizer | None:
    if kept := run.tokenizer():
        return _tokenizer(kept, run)
    if not study_texts.in_study(run.directory) or study_texts.study_config(run.directory, "texts=").kind == "organism":
        return None  # the embedded world's tokens are no text
    return study_texts.tokenizer_of(run)


def _tokenizer(kept: TokenizerFiles, source: object) -> Tokenizer | None:
    """None: no tokenizer came with the model."""
    return study_texts.tokenizer_in(kept, source) if study_texts.has_tokenizer(kept) else None


def steps(place: str | os.PathLike) -> list[int]:
    """The steps of a run's checkpoints, ascending: what `load` takes.

    Raises:
      UserError: it is not a run.
    """
    (run,) = walk.run_directories([os.fspath(place)])
    return walk.steps_of(run)


# --- reading ---------------------------------------------------------------------------------------------------------------


AMOUNTS = tuple(field.name for field in dataclasses.fields(Amounts))
SETTINGS = ("layers", "definitions", "interventions", "tuned_steps", "draws", "active")


def probe(model: LoadedModel, texts=None, prompts=None, **how) -> Probed:
    """Reads a model with all probes: losses, the working language, neurons, alignment, what changing neurons does.

    Args:
      texts: {language: folder, file, or source of a manifest}, the primary language first, at least two; read with the model's
        tokenizer. Or the result of another `probe`: the same texts and prompts. None: those of the study that the run is of.
      prompts: the prompts at which the working language is read, instead of those that are found in the texts: dicts as the lines
        of a file of prompts (probes/prompts.py), or such a file.
      how: of the texts `rows` (64), `row_tokens` (512), `prompt_tokens` (64), `per_pair` (20), see `loose_texts.Amounts`;
        `languages`, of a study's texts, the primary first; of the probes `layers`, `definitions`, `interventions`, `tuned_steps`,
        `draws`, `active`, see `reading.Settings`.

    Returns:
      A result with data frames; `plot()` draws it.

    Raises:
      UserError: no texts, texts of another vocabulary, fewer than two languages, an unknown setting.
    """
    for name in how:
        if name not in (*AMOUNTS, *SETTINGS, "languages"):
            raise unknown_name("setting", name, (*AMOUNTS, *SETTINGS, "languages"))
    settings = Options(**{name: value for name, value in how.items() if name in SETTINGS})
    probe_walk.check(settings)
    amounts = {name: value for name, value in how.items() if name not in SETTINGS}
    material = _material(model, texts, prompts, **amounts)
    instruments.check_definitions(material, settings)
    return measured(model, material, settings)


def _material(model: LoadedModel, texts, prompts=None, languages: Sequence[str] = (), **amounts) -> Material:
    """The rows and prompts that a model reads; see `probe`."""
    idle = [name for name in amounts if name != "prompt_tokens"]
    if idle and (texts is None or isinstance(texts, Probed)):
        raise UserError(
            f"{' and '.join(idle)} say how texts are read, and none are given; give texts, or leave it out."
        )
    if isinstance(texts, Probed):
        material = texts.material
    elif texts is not None:
        if model.tokenizer is None:
            raise UserError(f"{model.name} has no tokenizer, so it reads no texts; give prompts of token ids.")
        # Given prompts take the place of those that would be found.
        most = {"per_pair": 0} if prompts is not None else {}
        shape = {"vocab_size": model.model.vocab_size, "longest": model.model.max_length}
        material = loose_texts.material(texts, model.tokenizer, **shape, amounts=Amounts(**amounts | most))
    elif model.run is not None and study_texts.in_study(model.run.directory):
        material, _ = study_texts.ProbeTexts(languages=tuple(languages))(model.run)
    elif prompts is not None:
        if len(set(languages)) != 2:
            raise UserError("prompts are of two languages; name them, the primary first: languages=('python', 'php').")
        length = min(Amounts(**amounts).prompt_tokens, model.model.max_length)
        material = loose_texts.bare(tuple(languages), model.tokenizer, model.model.vocab_size, length)
    else:
        raise UserError(f"say what {model.name} is to read: texts={{'python': 'src/', 'php': 'web/'}}, or prompts.")
    if material.vocab_size != model.model.vocab_size or material.max_length > model.model.max_length:
        raise UserError(
            f"the texts are for a vocabulary of {material.vocab_size} and {material.max_length} positions, and {model.name} has "
            f"{model.model.vocab_size} and {model.model.max_length}; give it texts of its own."
        )
    if prompts is None:
        return material
    return study_texts.prompted(material, prompts, model.tokenizer, Amounts(**amounts).prompt_tokens)


def neurons(of: Probed | LoadedModel, definition: str = SPECIFIC, language: str | None = None, **how) -> pd.DataFrame:
    """The neurons that counts of active tokens single out, one a row.

    Args:
      of: a result of `probe`, or a model, which is then probed with `how` (as `probe`).
      definition: "specific" (LAPE's language-specific neurons, the primary's too), or a definition of neurons that transfer to a
        new language: lape_target, lape_exclusive, pair_shared, …
      language: whose; None: of all languages.

    Returns:
      `language`, `layer` and `neuron` (from 0), `entropy` in nats, and `active_LANGUAGE`: the share of its tokens at which the
      neuron is active. What `ablate` takes.

    Raises:
      UserError: an unknown definition or language.
    """
    result = of if isinstance(of, Probed) else probe(of, **how)
    counts = result.measured
    selection = lape.lape(*counts.whole())
    sets = neuron_sets(selection, counts.languages, result.material.primary)
    known = dict.fromkeys(name for name, _ in sets)
    if definition not in known:
        raise unknown_name("definition of neurons by counts", definition, known)
    if language is not None and language not in counts.languages:
        raise unknown_name("measured language", language, counts.languages)
    tables = []
    for (name, of_language), mask_LxF in sets.items():
        if name == definition and language in (None, of_language):
            layer, neuron = np.nonzero(mask_LxF)
            columns = {"language": of_language, "layer": layer, "neuron": neuron}
            columns["entropy"] = selection.entropy_xLxF[layer, neuron]
            for k, one in enumerate(counts.languages):
                columns[f"active_{one}"] = selection.p_KxxLxF[k][layer, neuron]
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


# --- changing -------------------------------------------------------------------------------------------------------------


def ablate(model: LoadedModel, neurons, kind: str = "zero", result: Probed | None = None, **options) -> LoadedModel:
    """The model with some neurons changed, in all that it reads and writes; it is probed, and writes, as any other.

    Args:
      neurons: a table of `neurons`, (layer, neuron) pairs, both from 0, or a mask [L, F].
      kind: what becomes of their values: zero, mean, value, scale, add, …, see `edits.edit`, which takes the `options`.
      result: of "mean", "replace" and "add": whose means are meant, over all its languages' tokens, unless `mean_LxF` is given.

    Raises:
      UserError: neurons of another model, an unknown kind, an option that it needs or does not take.
    """
    if isinstance(neurons, pd.DataFrame):
        neurons = neurons[["layer", "neuron"]].to_numpy()
    is_mask = np.asarray(neurons).dtype == bool
    mask_LxF = np.asarray(neurons) if is_mask else edits.neuron_set(model.model, neurons)
    if result is not None:
        options = {"mean_LxF": edits.means(result.measured).mean(axis=0)} | options
    change = edits.edit(kind, mask_LxF, **options)
    changed, params = edited(model.model, model.params, change)
    name = f"{model.name} without {int(mask_LxF.sum())} neurons" if kind == "zero" else f"{model.name}, {kind}"
    return dataclasses.replace(model, model=changed, params=params, name=name)


def patch(model: LoadedModel, other: LoadedModel, where: str | Sequence[str]) -> LoadedModel:
    """The model with parts of its parameters taken from another checkpoint of it: is knowledge lost, or the access to it?

    Args:
      where: parts by the beginnings of their paths, with rows where wanted: "blocks/ffn_[2]", "embed_table", "head[3]"; see
        `parts.restore`.

    Raises:
      UserError: a checkpoint of another model, or a part that it does not have.
    """
    if isinstance(model.params, EditedParams) or isinstance(other.params, EditedParams):
        raise UserError("patch a model before its neurons are changed: ablate(patch(model, …), …).")
    params = parts.restore(model.params, other.params, where)
    listed = where if isinstance(where, str) else ", ".join(where)
    return dataclasses.replace(
        model, params=params, name=f"{model.name} with {listed} of {other.name}, step {other.step}"
    )
