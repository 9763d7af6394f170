"""Natural languages: English first, then another language alone, with facts that English text alone states.

The score is the accuracy in facts: which of four places is the capital of a region (chance 25 %), asked in the new language. 40 %
of the facts stand in all languages' training text (shared), the others in English text alone (transfer): what a model answers of
these in the new language, it has from English. The control is the new language's text with all facts, which lacks none.
All but `1gpu`: 5.3M parameters, a vocabulary of 8192, a context of 256, three seeds. Such a model writes no text; it can show
whether facts are carried over and lost, and nothing about larger ones. A study goes on where it was stopped.

  de (or no variant): English, then German. The names of all places but a few are the same in both.
    Cost: about 50 minutes of two CPU cores, by timed steps: 16M training tokens in 21 runs (0.47 core-seconds a step), and 81
    checkpoints to measure (half a core-minute each). Expected: not run yet.
    bash launch/fetch_natural_corpus.sh runs/natural en de
    python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,de,facts --out=runs/corpora/facts_de
    python -m babel_jax study --config=configs/natural.py:de --config.corpus=runs/corpora/facts_de --workdir=runs/natural_de

  fr: English, then French.
    Cost: as de. Expected: as there.
    bash launch/fetch_natural_corpus.sh runs/natural en fr
    python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,fr,facts --out=runs/corpora/facts_fr
    python -m babel_jax study --config=configs/natural.py:fr --config.corpus=runs/corpora/facts_fr --workdir=runs/natural_fr

  es: English, then Spanish.
    Cost: as de. Expected: as there.
    bash launch/fetch_natural_corpus.sh runs/natural en es
    python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,es,facts --out=runs/corpora/facts_es
    python -m babel_jax study --config=configs/natural.py:es --config.corpus=runs/corpora/facts_es --workdir=runs/natural_es

  ru: English, then Russian, which writes every name otherwise: its text says of each how English spells it, a quarter as often
    as a fact is stated. So what is carried over must pass through the names, too.
    Cost: as de. Expected: less is carried over than in the others, or nothing.
    bash launch/fetch_natural_corpus.sh runs/natural en ru
    python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,ru,facts --out=runs/corpora/facts_ru
    python -m babel_jax study --config=configs/natural.py:ru --config.corpus=runs/corpora/facts_ru --workdir=runs/natural_ru

  1gpu: German, French, Spanish and Russian, each alone, by a model of 124M parameters (GPT-2's shape), a vocabulary of 16,384
    and a context of 1,024; three seeds. 66M tokens of English and of every mix, 33M of each new language.
    Cost: 2.0e9 tokens in 48 runs: at best half an hour of one H200, 3 hours of one v5e, by the roofline of real_code.py:1gpu,
    whose step is the same; in practice two to three times that.
    Expected: nothing of it has been trained here. `--dry_run` lists its runs.
    bash launch/fetch_natural_corpus.sh --all runs/natural en de fr es ru
    python -m babel_jax corpus build --manifest=configs/corpora/natural.py:en,de,fr,es,ru,facts --vocab_size=16384 \\
      --max_length=1024 --out=runs/corpora/facts
    python -m babel_jax study --config=configs/natural.py:1gpu --config.corpus=runs/corpora/facts --workdir=runs/natural --dry_run
"""

import functools

from ml_collections import ConfigDict

TOKENS = dict(en=4.5, de=2.8, fr=2.5, es=2.4, ru=2.0)  # millions, of the strict packages at a vocabulary of 8192, about
SEEDS = (0, 1, 2)


def get_config(variant: str = "de") -> ConfigDict:
    return ConfigDict(VARIANTS[variant]())


def only(source: str) -> tuple:
    return ({"tokens": 0, "weights": {source: 1.0}},)


def runs(primary: int, new: int, mix: int, checkpoints: tuple, rate: float) -> dict:
    """A study's runs: steps of English, of the new language, and of a mix; `rate`: of what goes on with the new language."""
    decayed = dict(schedule="cosine", final_learning_rate=rate / 5)
    goes_on = dict(
        init_from="primary_only", steps=new, checkpoint_steps=checkpoints, optimizer=dict(learning_rate=rate)
    )
    return dict(
        # Smoothing decides how much is carried over (configs/organism.py).
        primary_only=dict(steps=primary, stages=only("primary"), optimizer=decayed | dict(label_smoothing=0.1)),
        new_only=dict(steps=new, stages=only("new"), optimizer=decayed),
        continual=goes_on | dict(stages=only("new")),
        control=goes_on | dict(stages=only("new_control")),
        mix=dict(steps=mix, optimizer=decayed),
    )


def study(new: str, **changes) -> dict:
    languages = ("en", *new.split(","))
    return dict(
        kind="text",
        primary="en",
        new=new,
        seeds=SEEDS,
        corpus="",
        original={language: TOKENS[language] for language in languages},
        candidates=("peak_tokens", "algorithm1_loss"),
        **changes,
    )


def on_a_cpu(new: str) -> dict:
    return study(
        new,
        vocab_size=8192,
        context=256,
        heldout_rows=32,
        prompt_tokens=24,
        common=dict(
            batch_size=8,
            resume_every=100,  # two to three minutes
            model=dict(preset="5m", tied_head=True),
            optimizer=dict(b2=0.98, weight_decay=0.1, clip_norm=1.0, warmup_steps=20, learning_rate=2e-3),
        ),
        runs=runs(800, 256, 320, (0, 8, 16, 24, 32, 48, 64, 96, 128, 192), rate=1e-3),
    )


def on_an_accelerator() -> dict:
    return study(
        "de,fr,es,ru",
        vocab_size=16384,
        context=1024,
        heldout_rows=128,
        prompt_tokens=64,
        common=dict(
            batch_size=64,
            accumulation=2,
            resume_minutes=10.0,
            bad_step="skip",
            spike_factor=8.0,
            model=dict(preset="124m", tied_head=True, dtype="bfloat16", remat="dots", attention="auto"),
            optimizer=dict(b1=0.9, b2=0.95, weight_decay=0.1, clip_norm=1.0, warmup_steps=50, learning_rate=6e-4),
        ),
        runs=runs(1000, 500, 1000, (0, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384), rate=3e-4),
    )


VARIANTS = {
    **{new: functools.partial(on_a_cpu, new) for new in ("de", "fr", "es", "ru")},
    "1gpu": on_an_accelerator,
}
