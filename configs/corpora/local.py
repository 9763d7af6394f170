"""Your own source code: a folder with one folder for each language, named as the language is.

A language's folder holds source trees. A source may also be a git checkout (of which tracked files alone count), an archive
(.zip, .tar.gz, …), a file of JSON Lines or Parquet, or a pattern for many of these: see babel_jax/corpus/manifest.py. The
first folder below the language's counts as a project: no project stands on both sides of the split, so give several.

Cost: seconds to minutes of a CPU for megabytes. Expected: some millions of tokens; below a megabyte a language, the
vocabulary may be too large for the files, and the build says so.
  python -m babel_jax corpus build --manifest=configs/corpora/local.py:my/code --out=runs/corpora/local
or on SLURM, for much more:
  launch/slurm_corpus.sh configs/corpora/local.py:my/code runs/corpora/local 4 --cpus-per-task=4 --mem=8G
A mixture by the temperature that multilingual models use, for 256 steps of 8 rows of 256 tokens, and a run with it:
  python -m babel_jax corpus mix runs/corpora/local --policy=temperature --temperature=2 --tokens=524288 \\
    --max_epochs=8 --out=runs/local_mix.json
  python -m babel_jax train --config=configs/real_code.py --config.corpus=runs/corpora/local --run=mix \\
    --mixture=runs/local_mix.json --workdir=runs/local
"""


def get_config(folder: str = "runs/sources") -> dict:
    return dict(
        vocab_size=8192,
        max_length=256,
        languages={language: dict(sources=(dict(path=f"{folder}/{language}"),)) for language in ("python", "php")},
    )
