"""The studies of configs/gpt2.py and configs/organism.py with models of the Llama family, which most labs train and can read.

RMSNorm, rotary positions, gated SiLU, no biases (model/families/README.md). All that is not about the model is theirs: the
paper's languages, tokens and batches of 0.5M tokens with GPT-3's learning rates for these sizes; the embedded world.

  tiny: the smoke test. configs/organism.py:tiny with two queries that share a key. What starts from nothing trains with Muon: at
    this rate Python is solved after 150 steps, and under AdamW it was not after 2,100. Hardware: CPU. Cost: at most 3 minutes on
    2 cores.
    Expected: PHP accuracy 0 -> 1.0 (steps 64 to 160) -> 0.9; control 1.00 at the end.
    python -m babel_jax study --config=configs/llama.py:tiny --workdir=runs/llama_tiny

  1b: SmolLM2-1.7B's shape (24 layers of 2048, 32 heads, gated FFN of 8192, tied head) with configs/gpt2.py's vocabulary of 50,304
    and context of 2048. The new language is PHP; that of 1b_csharp, 1b_go and 1b_cpp is another, and the run `multilingual` has
    all five. Hardware: from 16 chips of v5e on. Cost: by the roofline of the compiled step, a bound and no measurement, at least
    16 chip-hours of v5e for 1B tokens, so 180 for Python, 377 for PHP after it, 1,458 for the five languages from scratch.
    Expected: as in the paper; nothing of it has been trained here.
    python -m babel_jax compile --config=configs/llama.py:1b --topology=v5e:4x4
    python -m babel_jax train --config=configs/llama.py:1b --config.corpus=/mnt/corpus --run=primary_only \\
      --workdir=gs://BUCKET/llama_1b_php

  8b: Llama 3 8B's shape (32 layers of 4096, 32 heads, 8 keys, gated FFN of 14,336, untied head), its vocabulary of 128,256
    and context of 8192; 8b_csharp, 8b_go, 8b_cpp as above. Hardware: from 64 chips of v5p on. Cost: by the roofline at least
    34 chip-hours of v5p for 1B tokens, so 375 for Python, 784 for PHP after it, 3,035 for the five languages from scratch.
    On 256 chips of v6e with mesh.tensor=4; on 16 of v5e with mesh.tensor=4, accumulation=16, model.remat="full" and
    optimizer.mu_dtype="bfloat16" it fits, too (all of them below --config.common).
    Expected: as in the paper; nothing of it has been trained here.
    python -m babel_jax compile --config=configs/llama.py:8b --topology=v5p:4x4x4
    python -m babel_jax train --config=configs/llama.py:8b --config.corpus=/mnt/corpus --run=primary_only \\
      --workdir=gs://BUCKET/llama_8b_php
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

# By size: configs/gpt2.py's size of the same learning rates, what changes of the study, of all runs and of their model.
SIZES = {
    "1b": ("1b3", {}, dict(accumulation=8), dict(preset="1b7")),
    "8b": (
        "6b7",
        dict(vocab_size=128256, context=8192),
        dict(batch_size=64),
        dict(preset="8b", tied_head=False),
    ),
}
NEW = ("csharp", "go", "cpp")  # besides PHP
VARIANTS = {"tiny": ()} | {
    size + end: (size, new) for size in SIZES for end, new in (("", "php"), *((f"_{new}", new) for new in NEW))
}


def beside(file: str, variant: str) -> ConfigDict:
    """A study of another file of this folder."""
    return runpy.run_path(str(Path(__file__).with_name(file)))["get_config"](variant)


def tiny() -> ConfigDict:
    config = beside("organism.py", "tiny")
    config.common.model.update(family="llama", kv_heads=1)
    for run in ("primary_climb", "primary_only", "new_only"):
        config.runs[run].optimizer.update(name="muon")
    return config


def large(size: str, new: str) -> ConfigDict:
    as_gpt2, of_study, of_runs, of_model = SIZES[size]
    config = beside("gpt2.py", f"{as_gpt2}_{new}")
    config.update(of_study)
    config.common.update(of_runs)
    config.common.model.update(of_model, family="llama")
    return config


def get_config(variant: str) -> ConfigDict:
    return large(*VARIANTS[variant]) if VARIANTS[variant] else tiny()
