"""A corpus of Python and PHP with facts of invented libraries, and a study of it that a test can train until it knows them."""

from pathlib import Path

from babel_jax.corpus import build, manifest
from babel_jax.study.plan import from_changes
from helpers import loose_files
from helpers.corpora import QUIET

NUMBER = 40  # of which half is shared


def sources(folder: Path, vocab_size: int) -> dict:
    """A manifest of Python and PHP below `folder`, a project each file, as plain data."""
    texts = {"python": (".py", loose_files.python), "php": (".php", loose_files.php)}
    for language, (ending, text) in texts.items():
        for number in range(20):
            path = folder / language / f"project{number}" / f"a{ending}"
            path.parent.mkdir(parents=True)
            path.write_text(text(number))
    raw = manifest.of_sources({name: [folder / name] for name in texts}, vocab_size=vocab_size, max_length=40).record()
    raw["clean"] |= {"near_duplicates": False, "quality": False}
    return raw


def corpus(folder: Path) -> Path:
    """Builds it; the folder that it lies in."""
    facts = {"kind": "library", "number": NUMBER, "shared": 0.5, "times": 12}
    asked = manifest.check(sources(folder, vocab_size=500) | {"facts": facts}, "test")
    return build.build(asked, folder / "corpus", **QUIET).directory


def config(directory: Path):
    """Of the study: the primary until it is known, then the new language with and without all facts."""

    def run(source, **changes):
        return dict(stages=({"tokens": 0, "weights": {source: 1.0}},), **changes)

    continual = dict(init_from="primary_only", steps=64)
    return from_changes(
        dict(
            kind="text",
            primary="python",
            new="php",
            seeds=(0,),
            corpus=str(directory),
            heldout_rows=4,
            prompt_tokens=24,
            common=dict(
                batch_size=16,
                model=dict(preset="tiny", tied_head=True),
                optimizer=dict(learning_rate=3e-3, warmup_steps=20, label_smoothing=0.1),
            ),
            runs=dict(
                primary_only=run("primary", steps=800, stop_every=100, stop_accuracy=0.9),
                new_only=run("new", steps=160),
                continual=run("new", checkpoint_steps=(0, 16, 32), **continual),
                control=run("new_control", checkpoint_steps=(0, 32), **continual),
            ),
            original=dict(python=1, php=1),
        )
    )
