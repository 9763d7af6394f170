"""StarCoderData, what StarCoder was trained on: near-deduplicated, filtered and without personal data, in Parquet.

The data set is gated: accept its terms at https://huggingface.co/datasets/bigcode/starcoderdata, log in once
(`huggingface-cli login`). It comes from The Stack's permissive files and names no licence, so files are not filtered by
licence. The steps that it has already had are off: near-duplicates, redaction (its placeholders stay) and quality. It was
decontaminated on Python's HumanEval and MBPP, not on their translations: name the suites that you evaluate on in
clean.decontaminate, as `evaluate --suite` takes them. About half of its files begin with a line of StarCoder's own marks, such
as <reponame>…<gh_stars>1-10: they are part of the text and stay in it.

Cost: of its 783 GB in 86 languages these five are some 240 GB of text. At the 3 MB/s of a core without near-duplicates
that the bench asks for, that is 22 hours of one core: an hour of 4 nodes of 8 cores, and more for the steps that one task
does for a language. This has not been run at that size. Expected: tens of billions of tokens; `corpus mix` says how often
each language is seen.
  huggingface-cli download bigcode/starcoderdata --repo-type=dataset --local-dir=runs/starcoderdata \\
    --include "python/*" "php/*" "c-sharp/*" "go/*" "cpp/*"
  python -m babel_jax corpus build --manifest=configs/corpora/starcoderdata.py --out=runs/corpora/starcoderdata --jobs=32
or, with the same bytes, on SLURM, with the data in a folder that all nodes see:
  launch/slurm_corpus.sh configs/corpora/starcoderdata.py:/shared/starcoderdata /shared/corpora/starcoderdata 64 \\
    --cpus-per-task=8 --mem=64G
A mixture for the paper's 89B tokens, and a run of it (steps x 256 rows x 2048 tokens):
  python -m babel_jax corpus mix runs/corpora/starcoderdata --policy=tokens --tokens=89e9 --max_epochs=4 \\
    --out=runs/starcoderdata_mix.json
  python -m babel_jax train --config=configs/gpt2.py:1b3 --config.corpus=/mnt/corpora/starcoderdata --run=multilingual \\
    --mixture=runs/starcoderdata_mix.json --workdir=gs://BUCKET/starcoderdata
"""

FOLDERS = dict(python="python", php="php", csharp="c-sharp", go="go", cpp="cpp")
COLUMNS = dict(content="content", path="max_stars_repo_path", project="max_stars_repo_name")


def get_config(data: str = "runs/starcoderdata") -> dict:
    return dict(
        vocab_size=50304,
        max_length=2048,
        languages={
            language: dict(
                sources=(dict(path=f"{data}/{folder}", format="parquet", name="starcoderdata", columns=COLUMNS),)
            )
            for language, folder in FOLDERS.items()
        },
        clean=dict(near_duplicates=False, redact=False, quality=False),
    )
