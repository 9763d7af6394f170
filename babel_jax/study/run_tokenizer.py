"""Which tokenizer a run was trained with, as files of a Hugging Face folder."""

import itertools
from pathlib import Path

import numpy as np

from babel_jax.common import files
from babel_jax.corpus import corpus_files
from babel_jax.model import tokenizer_files
from babel_jax.model.tokenizer_files import TokenizerFiles
from babel_jax.organism import world
from babel_jax.organism.frame import FRAME
from babel_jax.study import plan, texts
from babel_jax.training import foreign
from babel_jax.training.runs import seed_of

PROOF_ROWS = 64  # held-out rows of each language whose texts must become the same ids


def files_of(run_dir, corpus: Path | None = None) -> TokenizerFiles | None:
    """The tokenizer's files of a run: those that came with an imported model, or made of its study's tokenizer.

    Args:
      corpus: whose tokenizer it is; by default that of the study that the run lies in, if it lies in one.

    Returns:
      None: nothing says what its tokens are.

    Raises:
      UserError: it cannot be written so that transformers gives the same ids.
    """
    run_dir = files.path(run_dir)
    if corpus is None and (kept := foreign.kept_tokenizer(run_dir)):
        return kept
    if corpus is None and not texts.in_study(run_dir):
        return None
    config = None if corpus else texts.study_config(run_dir, "--corpus=DIR")
    if config is not None and config.kind == "organism":
        return tokenizer_files.of_words(world.World(plan.world_config(config), seed_of(run_dir)).tokens, len(FRAME) - 1)
    built = corpus_files.load(corpus or Path(config.corpus))
    rows = {
        language: source.rows(np.arange(min(PROOF_ROWS, len(source)))) for language, source in built.validation.items()
    }
    length = next(iter(rows.values())).shape[1] - 1
    decoded = (built.tokenizer.decode(row.tolist()) for row in itertools.chain.from_iterable(rows.values()))
    return tokenizer_files.of_tokenizer(built.tokenizer, length, decoded)
