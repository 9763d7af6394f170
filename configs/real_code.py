"""Real source code: the same story on files that people wrote.

The score is bits per byte on held-out projects and identifier accuracy at held-out call sites; whether programs run is asked of
the 124M and 350M models afterwards, by `evaluate --suite` (README, "Problem suites").

  cpu (or no variant): Python, then PHP, as far as an hour of CPU reaches. A 5.3M-parameter decoder with a vocabulary of 8192 and
    a context of 256. One seed; at this budget no model writes a program.
    Cost: about an hour of one CPU core, for 4.5M training tokens. Expected: see the README's results table.
    bash launch/fetch_debian_corpus.sh runs/sources
    python -m babel_jax corpus build --source python=runs/sources/python --source php=runs/sources/php --out=runs/corpus
    python -m babel_jax study --config=configs/real_code.py --config.corpus=runs/corpus --workdir=runs/real_code

  facts: as cpu, with facts of invented libraries: which function belongs to a module, asked at PHP call sites (one of four,
    chance 25 %). Python files state all of them, PHP files 40 %: what a model answers of the others in PHP, it has from Python.
    The control is PHP's text with all facts. The score is the accuracy in facts, by which stages, knowledge share and peak
    tokens are found as in the embedded world. Three seeds.
    Cost: 16M training tokens in 21 runs: about an hour of two CPU cores, by timed steps of natural.py. Expected: not run yet.
    bash launch/fetch_debian_corpus.sh runs/sources
    python -m babel_jax corpus build --manifest=configs/corpora/debian.py:python,php,facts --out=runs/corpora/code_facts
    python -m babel_jax study --config=configs/real_code.py:facts --config.corpus=runs/corpora/code_facts --workdir=runs/facts

  1gpu: Python, then PHP, C#, Go and C++, each alone; corpora from scratch. 124M parameters (GPT-2's shape), a vocabulary of
    16,384 and a context of 1,024; three seeds. 262M tokens of Python and of every mix, 131M of each new language.
    Cost: 6.3e9 tokens in 36 runs: at best 1.5 hours of one H200, 9 of one v5e (roofline of the step compiled for v5e:2x2, which
    reaches 64 % MFU, and its work and traffic at an H200's peaks); in practice two to three times that. 241 GB of checkpoints.
    A v5e chip alone needs --config.common.accumulation=8.
    Expected: nothing of it has been trained here. `--dry_run` lists its runs.
    bash launch/fetch_debian_corpus.sh --full runs/sources python php csharp go cpp
    python -m babel_jax corpus build --manifest=configs/corpora/debian.py:whole --vocab_size=16384 --max_length=1024 \\
      --out=runs/corpora/whole
    python -m babel_jax study --config=configs/real_code.py:1gpu --config.corpus=runs/corpora/whole --workdir=runs/1gpu --dry_run

  1gpu_350m: the same with 350M parameters.
    Cost: at best 4 hours of one H200, 20 of one v5e (as above, 90 % MFU); 784 GB of checkpoints. Expected: as there.
    python -m babel_jax study --config=configs/real_code.py:1gpu_350m --config.corpus=runs/corpora/whole --workdir=runs/350m

  10min: a cut of 1gpu to see that an accelerator does what it should: Python, then PHP, one seed, 118M tokens in all.
    Cost: at best 2 minutes of one H200, and what compiling and measuring take; meant to stay below ten. 15 GB of checkpoints.
    Expected: not run yet; a falling loss, and PHP's bits per byte below those of `cpu`.
    python -m babel_jax study --config=configs/real_code.py:10min --config.corpus=runs/corpora/whole --workdir=runs/10min
"""

from ml_collections import ConfigDict

TOKENS = dict(python=11, php=23, csharp=16, go=11, cpp=28)  # billions of tokens in the paper
PER_STEP = 64  # rows of 1,024 tokens
CONTINUAL = (0, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536)


def get_config(variant: str = "cpu") -> ConfigDict:
    return ConfigDict(VARIANTS[variant]())


def only(source: str) -> tuple:
    return ({"tokens": 0, "weights": {source: 1.0}},)


def on_a_cpu() -> dict:
    decayed = dict(schedule="cosine", final_learning_rate=2e-4)
    return dict(
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
            primary_only=dict(steps=640, stages=only("primary"), optimizer=decayed),
            new_only=dict(steps=256, stages=only("new"), optimizer=decayed),
            continual=dict(
                init_from="primary_only",
                steps=384,
                checkpoint_steps=(0, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384),
                stages=only("new"),
                optimizer=dict(learning_rate=1e-3),
            ),
            mix=dict(steps=256, optimizer=decayed),
        ),
        original=dict(python=TOKENS["python"], php=TOKENS["php"]),
        sweep=(0.35,),
        candidates=("algorithm1_loss",),
    )


def with_facts() -> dict:
    """As `on_a_cpu`, shorter and with a control: of facts there are several hundred in a small corpus, each stated often."""
    config = on_a_cpu()
    continual = config["runs"]["continual"] | dict(steps=256, checkpoint_steps=(0, 8, 16, 24, 32, 48, 64, 96, 128, 192))
    steps = dict(primary_only=800, new_only=256, mix=320)
    shorter = {role: config["runs"][role] | dict(steps=number) for role, number in steps.items()}
    smoothed = shorter["primary_only"]["optimizer"] | dict(label_smoothing=0.1)  # decides how much is carried over
    shorter["primary_only"] |= dict(optimizer=smoothed)
    runs = shorter | dict(continual=continual, control=continual | dict(stages=only("new_control")))
    return config | dict(
        seeds=(0, 1, 2),
        heldout_rows=32,
        prompt_tokens=32,
        runs=runs,
        sweep=(0.1,),
        candidates=("peak_tokens", "algorithm1_loss"),
    )


def on_an_accelerator(preset: str, new: str, seeds: tuple, steps: int) -> dict:
    """A study of a model of GPT-2's kind. steps: of Python, and of every mix; a new language alone gets half of it."""
    decayed = dict(schedule="cosine", final_learning_rate=6e-5)
    languages = ("python", *new.split(","))
    return dict(
        kind="real_code",
        primary="python",
        new=new,
        seeds=seeds,
        corpus="",
        vocab_size=16384,
        context=1024,
        heldout_rows=256,
        prompt_tokens=256,
        common=dict(
            batch_size=PER_STEP,
            accumulation=2,
            resume_minutes=10.0,
            bad_step="skip",
            spike_factor=8.0,
            model=dict(preset=preset, tied_head=True, dtype="bfloat16", remat="dots", attention="auto"),
            optimizer=dict(b1=0.9, b2=0.95, weight_decay=0.1, clip_norm=1.0, warmup_steps=100, learning_rate=6e-4),
        ),
        runs=dict(
            primary_only=dict(steps=steps, stages=only("primary"), optimizer=decayed),
            new_only=dict(steps=steps // 2, stages=only("new"), optimizer=decayed),
            continual=dict(
                init_from="primary_only",
                steps=steps // 2,
                checkpoint_steps=tuple(step for step in CONTINUAL if step < steps // 2),
                stages=only("new"),
                optimizer=dict(learning_rate=3e-4),
            ),
            mix=dict(steps=steps, optimizer=decayed),
        ),
        original={language: TOKENS[language] for language in languages},
        candidates=("peak_tokens", "algorithm1_loss"),
    )


VARIANTS = {
    "cpu": on_a_cpu,
    "facts": with_facts,
    "1gpu": lambda: on_an_accelerator("124m", "php,csharp,go,cpp", seeds=(0, 1, 2), steps=4000),
    "1gpu_350m": lambda: on_an_accelerator("350m", "php,csharp,go,cpp", seeds=(0, 1, 2), steps=4000),
    "10min": lambda: on_an_accelerator("124m", "php", seeds=(0,), steps=600) | dict(candidates=()),
}
