"""Real source code: the same story on Python and PHP files, as far as an hour of CPU reaches.

A 5.3M-parameter decoder with a vocabulary of 8192 and a context of 256. The score is bits per byte on held-out projects
and identifier accuracy at held-out call sites. One seed; at this budget no model writes a program.

Cost: about an hour of one CPU core, for 4.5M training tokens. Expected: see the README's results table.
  bash launch/fetch_debian_corpus.sh runs/sources
  python -m babel_jax corpus build --source python=runs/sources/python --source php=runs/sources/php --out=runs/corpus
  python -m babel_jax study --config=configs/real_code.py --config.corpus=runs/corpus --workdir=runs/real_code
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            kind="real_code",
            primary="python",
            new="php",
            seeds=(0,),
            corpus="",
            heldout_rows=64,
            prompt_tokens=64,
            common=dict(
                batch_size=8,
                resume_every=100,  # two to three minutes
                model=dict(preset="5m", tied_head=True),
                optimizer=dict(b2=0.98, weight_decay=0.1, clip_norm=1.0, warmup_steps=40, learning_rate=2e-3),
            ),
            runs=dict(
                primary_only=dict(
                    steps=640,
                    stages=({"tokens": 0, "weights": {"primary": 1.0}},),
                    optimizer=dict(schedule="cosine", final_learning_rate=2e-4),
                ),
                new_only=dict(
                    steps=256,
                    stages=({"tokens": 0, "weights": {"new": 1.0}},),
                    optimizer=dict(schedule="cosine", final_learning_rate=2e-4),
                ),
                continual=dict(
                    init_from="primary_only",
                    steps=384,
                    checkpoint_steps=(0, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384),
                    stages=({"tokens": 0, "weights": {"new": 1.0}},),
                    optimizer=dict(learning_rate=1e-3),
                ),
                mix=dict(steps=256, optimizer=dict(schedule="cosine", final_learning_rate=2e-4)),
            ),
            original=dict(python=11, php=23),  # billions of tokens in the paper
            sweep=(0.35,),
            candidates=("algorithm1_loss",),
        )
    )
