"""The paper's models of 1.3B and 6.7B parameters: Python first, then one new language, for pods.

Shapes of the GPT-3 table (1b3: 24 layers of 2048, 16 heads; 6b7: 32 layers of 4096, 32 heads), context 2048, a vocabulary of
50,304 = 393 x 128 pieces, a batch of 0.5M tokens, bf16 compute over float32 parameters. What the paper does not say
(optimiser, batch, learning rates, vocabulary) follows GPT-3's table for these sizes. Token counts are the paper's: Python
11B, PHP 23B, C# 16B, Go 11B, C++ 28B; the optimised corpus has PHP 5B and C# 10B.

Variants name the size and the new language: 1b3_php, 1b3_csharp, 1b3_go, 1b3_cpp, 6b7_php, 6b7_csharp, 6b7_go, 6b7_cpp; 1b3 and
6b7 alone mean PHP.
Runs: primary_only, new_only, continual, mix_<share> (of two languages), multilingual and multilingual_optimized (of five).
Expected: as in the paper; nothing of it has been trained here. Costs are by the roofline of the compiled step (README), which
is a bound and no measurement. The corpus lies on a disk of every host (a mounted bucket, or a copy); it is built with
--vocab_size=50304 --max_length=2048.

  1b3: hardware: from 16 chips of v5e on, or v4. Cost: at least 13 chip-hours of v5e or 9 of v4 for 1B tokens, so 143 (v5e)
    for Python, 299 for PHP after it, 1,160 for the five languages from scratch.
    python -m babel_jax compile --config=configs/gpt2.py:1b3 --topology=v5e:4x4
    python -m babel_jax train --config=configs/gpt2.py:1b3 --config.corpus=/mnt/corpus --run=primary_only \\
      --workdir=gs://BUCKET/gpt2_1b3_php

  6b7: hardware: from 64 chips of v5p on, or 256 of v5e or v6e. Cost: at least 26 chip-hours of v5p, 61 of v5e or 18 of v6e
    for 1B tokens, so 288 (v5p) for Python, 603 for PHP after it, 2,333 for the five languages from scratch.
    python -m babel_jax compile --config=configs/gpt2.py:6b7 --topology=v5p:4x4x4
    python -m babel_jax train --config=configs/gpt2.py:6b7 --config.corpus=/mnt/corpus --run=primary_only \\
      --workdir=gs://BUCKET/gpt2_6b7_php
"""

from ml_collections import ConfigDict

TOKENS = dict(python=11e9, php=23e9, csharp=16e9, go=11e9, cpp=28e9)
OPTIMIZED = TOKENS | dict(php=5e9, csharp=10e9)
BATCH_TOKENS = 256 * 2048
# By size: peak learning rate from scratch, learning rate of the continual run, microbatches of a step.
SIZES = {"1b3": (2e-4, 1e-4, 4), "6b7": (1.2e-4, 6e-5, 1)}
VARIANTS = {size: (size, "php") for size in SIZES} | {
    f"{size}_{new}": (size, new) for size in SIZES for new in TOKENS if new != "python"
}


def steps(tokens: float) -> int:
    return round(tokens / BATCH_TOKENS)


def only(language: str) -> tuple:
    return ({"tokens": 0, "weights": {language: 1.0}},)


def get_config(variant: str) -> ConfigDict:
    size, new = VARIANTS[variant]
    learning_rate, continual_learning_rate, accumulation = SIZES[size]
    from_scratch = dict(
        schedule="cosine", learning_rate=learning_rate, final_learning_rate=learning_rate / 10, warmup_steps=700
    )
    return ConfigDict(
        dict(
            kind="real_code",
            primary="python",
            new=new,
            seeds=(0,),
            corpus="",
            vocab_size=50304,
            context=2048,
            heldout_rows=1024,
            prompt_tokens=512,
            common=dict(
                batch_size=256,
                accumulation=accumulation,
                resume_minutes=10.0,
                bad_step="skip",
                spike_factor=8.0,
                model=dict(preset=size, tied_head=True, dtype="bfloat16", remat="dots", attention="auto"),
                optimizer=dict(b1=0.9, b2=0.95, weight_decay=0.1, clip_norm=1.0),
                mesh=dict(data=1, fsdp=-1, tensor=1),
            ),
            runs=dict(
                primary_only=dict(steps=steps(TOKENS["python"]), stages=only("python"), optimizer=from_scratch),
                new_only=dict(steps=steps(TOKENS[new]), stages=only(new), optimizer=from_scratch),
                continual=dict(
                    init_from="primary_only",
                    steps=steps(TOKENS[new]),
                    # The loss before the first step, for Eq. 1; then 1, 1.3, 1.7, ... steps, because the peak comes early.
                    checkpoint_steps=(0,),
                    checkpoint_growth=1.3,
                    checkpoint_every=steps(5e9),
                    stages=only(new),
                    optimizer=dict(schedule="constant", learning_rate=continual_learning_rate, warmup_steps=100),
                ),
                multilingual=dict(
                    steps=steps(sum(TOKENS.values())),
                    checkpoint_every=steps(10e9),
                    stages=({"tokens": 0, "weights": TOKENS},),
                    optimizer=from_scratch,
                ),
                multilingual_optimized=dict(
                    steps=steps(sum(OPTIMIZED.values())),
                    checkpoint_every=steps(10e9),
                    stages=({"tokens": 0, "weights": OPTIMIZED},),
                    optimizer=from_scratch,
                ),
                mix=dict(steps=steps(TOKENS["python"] + TOKENS[new]), optimizer=from_scratch),
            ),
            original={"python": TOKENS["python"], new: TOKENS[new]},
        )
    )
