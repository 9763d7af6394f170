"""Five languages from Debian's source packages: the largest corpus that one script fetches, and that a laptop builds.

Python, PHP, C#, Go and C++ of the packages that launch/fetch_debian_corpus.sh fetched, or the languages that the argument
names, the primary one first (JavaScript, TypeScript, Java, C and Rust are there, too); each with its licence; at most 60 MB
of each, drawn evenly, so that C# (mono) does not outweigh the rest. Packages under other than permissive licences (`--full`
fetches some) are dropped. Vocabulary and context fit configs/real_code.py.

Cost: 175 MB to fetch, then minutes of two CPU cores and less than 3 GiB of memory. Expected: at least 30 MB a language; the
README has what the cleaning left and the bytes per token.
  bash launch/fetch_debian_corpus.sh runs/sources python php csharp go cpp
  python -m babel_jax corpus build --manifest=configs/corpora/debian.py --out=runs/corpora/debian
or of other languages (31 MB to fetch), and of packages that lie elsewhere than in runs/sources:
  bash launch/fetch_debian_corpus.sh runs/sources python javascript java rust
  python -m babel_jax corpus build --manifest=configs/corpora/debian.py:python,javascript,java,rust --out=runs/corpora/four
  python -m babel_jax corpus build --manifest=configs/corpora/debian.py:my/sources,python,c --out=runs/corpora/python_c
or small, with facts of invented libraries that Python files alone state, for configs/real_code.py:facts:
  python -m babel_jax corpus build --manifest=configs/corpora/debian.py:python,php,facts --out=runs/corpora/code_facts
or, with the same bytes as the first, on SLURM with runs/ on a file system that all nodes see:
  launch/slurm_corpus.sh configs/corpora/debian.py runs/corpora/debian 4 --cpus-per-task=4 --mem=8G
Its statistics; a mixture for the run below (256 steps of 8 rows of 256 tokens); the run; and whether it kept to the mixture:
  python -m babel_jax corpus stats runs/corpora/debian
  python -m babel_jax corpus mix runs/corpora/debian --policy=unimax --tokens=524288 --max_epochs=4 --out=runs/debian_mix.json
  python -m babel_jax train --config=configs/real_code.py --config.corpus=runs/corpora/debian --run=mix \\
    --mixture=runs/debian_mix.json --workdir=runs/debian
  python -m babel_jax corpus verify --run=runs/debian/seed0/mix
or all of it (with --full, 615 MB to fetch), for larger models:
  bash launch/fetch_debian_corpus.sh --full runs/sources python php csharp go cpp
  python -m babel_jax corpus build --manifest=configs/corpora/debian.py:whole --vocab_size=16384 --max_length=1024 \\
    --out=runs/corpora/whole
To exclude the problems that you evaluate on, name their suites in clean.decontaminate, as `evaluate --suite` takes them.
"""

from pathlib import Path

LANGUAGES = ("python", "php", "csharp", "go", "cpp")
FURTHER = ("javascript", "typescript", "java", "c", "rust")
WHOLE = "whole"  # no cap
FACTS = "facts"
PACKAGES = Path(__file__).parents[2] / "launch" / "debian_packages.tsv"


def get_config(argument: str = "") -> dict:
    """The packages that were fetched, each with its licence; the minimal set as long as none was.

    `argument`: languages, the folder of the packages if it is not runs/sources, `whole` for all of a language instead of at
    most 60 MB, and `facts` (then at most 10 MB), with commas between them.
    """
    words = [word for word in argument.split(",") if word]
    facts = dict(facts=dict(kind="library", number=80, shared=0.4, times=900)) if FACTS in words else {}
    cap = {} if WHOLE in words else dict(max_megabytes=10 if facts else 60)
    words = [word for word in words if word not in (WHOLE, FACTS)]
    chosen = [word for word in words if word in LANGUAGES + FURTHER] or LANGUAGES
    sources, *more = [word for word in words if word not in LANGUAGES + FURTHER] or ["runs/sources"]
    if more:
        raise ValueError(f"'{sources}' and '{more[0]}' are no languages of it, and only one can be the folder")
    languages = {language: cap | dict(sources=[]) for language in chosen}
    for line in PACKAGES.read_text().splitlines()[2:]:
        which, language, package, licence, *_ = line.split("\t")
        folder = Path(sources, language, package.removeprefix("src:"))
        if language in chosen and (folder.is_dir() if Path(sources).is_dir() else which == "minimal"):
            languages[language]["sources"].append(dict(path=str(folder), licence=licence))
    return dict(
        vocab_size=8192,
        max_length=256,
        languages={language: about for language, about in languages.items() if about["sources"]},
        **facts,
    )
