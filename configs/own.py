"""Your own code or text: any two or more languages of a corpus; the model and the steps are as large as the corpus allows.

The argument is the corpus and, if not all of its languages in their order, which: the primary first. Each run sees its text
once; the continual one starts from the primary's model. The model is the largest of those of 5M to 350M parameters that has 20
tokens of the primary a parameter (arXiv 2203.15556), or the smallest. `--dry_run` says what that takes, and how many prompts
there are to measure with. What is too long is cut with `max_megabytes` in the manifest, or --config.runs.primary_only.steps=640
and the like. A corpus is made of folders, archives, JSON Lines or Parquet; languages that the package does not know have a
definition (babel_jax/languages/README.md).

Cost: by the corpus; 4.5M tokens of 5M parameters are an hour of one CPU core. Expected: by the corpus.
  python -m babel_jax corpus build --source python=code/python --source go=code/go --vocab_size=8192 --max_length=256 \\
    --out=runs/mine
  python -m babel_jax study --config=configs/own.py:runs/mine --workdir=runs/own --dry_run
  python -m babel_jax study --config=configs/own.py:runs/mine,python,go --workdir=runs/own
"""

from pathlib import Path

from ml_collections import ConfigDict

from babel_jax.corpus import corpus_files

PARAMETERS = {"5m": 5e6, "7m": 7e6, "124m": 124e6, "350m": 350e6}
STEP_TOKENS = {"5m": 2048, "7m": 4096, "124m": 65536, "350m": 65536}
CHECKPOINTS = (0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def get_config(argument: str) -> ConfigDict:
    place, *chosen = argument.split(",")
    corpus = corpus_files.load(Path(place))
    primary, *new = chosen or corpus.train
    length = corpus.manifest.row_length - 1
    tokens = {language: len(corpus.train[language]) * length for language in (primary, *new)}
    preset = max(
        (name for name in PARAMETERS if 20 * PARAMETERS[name] <= tokens[primary]), default="5m", key=PARAMETERS.get
    )
    rows = max(STEP_TOKENS[preset] // length, 1)
    steps = {language: max(amount // (rows * length), 1) for language, amount in tokens.items()}
    shortest = min(steps[language] for language in new)
    decayed = dict(schedule="cosine", final_learning_rate=1e-4)
    only = lambda source: ({"tokens": 0, "weights": {source: 1.0}},)  # noqa: E731
    return ConfigDict(
        dict(
            kind="text",
            primary=primary,
            new=",".join(new),
            seeds=(0, 1, 2),
            corpus=place,
            common=dict(
                batch_size=rows,
                model=dict(preset=preset, tied_head=True),
                optimizer=dict(b2=0.98, weight_decay=0.1, clip_norm=1.0, warmup_steps=40, learning_rate=1e-3),
            ),
            runs=dict(
                primary_only=dict(steps=steps[primary], stages=only("primary"), optimizer=decayed),
                new_only=dict(steps=shortest, stages=only("new"), optimizer=decayed),
                continual=dict(
                    init_from="primary_only",
                    steps=shortest,
                    checkpoint_steps=tuple(step for step in CHECKPOINTS if step < shortest),
                    stages=only("new"),
                    optimizer=dict(learning_rate=5e-4),
                ),
                mix=dict(steps=sum(steps.values()), optimizer=decayed),
            ),
            original=tokens,
            candidates=("peak_tokens", "algorithm1_loss"),
        )
    )
