"""The Stack v1.2, near-deduplicated: the paper's five languages at the paper's scale, from the Hugging Face hub.

The data set is gated: accept its terms at https://huggingface.co/datasets/bigcode/the-stack-dedup, log in once
(`huggingface-cli login`), and take its newest version, because authors may withdraw their code. It says each file's
licences, of which the permissive ones are kept (all of a file's must be), its repository, by which the split is made, and
it is near-deduplicated already, so that step is off. Decontamination is yours: name the suites that you evaluate on in
clean.decontaminate, as `evaluate --suite` takes them. Vocabulary and context are those of configs/gpt2.py:1b3.

Cost: some 100 GB of Parquet to fetch and some 200 GB of text to read. At the 3 MB/s of a core without near-duplicates that
the bench asks for, that is 20 hours of one core: an hour of 4 nodes of 8 cores, and more for the steps that one task does
for a language. This has not been run at that size. Expected: tens of billions of tokens, more than the 89B that the paper
trains on only with repetition; `corpus mix` says how much.
  huggingface-cli download bigcode/the-stack-dedup --repo-type=dataset --local-dir=runs/the_stack \\
    --include "data/python/*" "data/php/*" "data/c-sharp/*" "data/go/*" "data/c++/*"
  python -m babel_jax corpus build --manifest=configs/corpora/the_stack.py --out=runs/corpora/the_stack --jobs=32
or, with the same bytes, on SLURM, with the data in a folder that all nodes see:
  launch/slurm_corpus.sh configs/corpora/the_stack.py:/shared/the_stack /shared/corpora/the_stack 64 --cpus-per-task=8 --mem=64G
A mixture for the paper's 89B tokens, and a run of it (steps x 256 rows x 2048 tokens):
  python -m babel_jax corpus mix runs/corpora/the_stack --policy=unimax --tokens=89e9 --max_epochs=4 --out=runs/the_stack_mix.json
  python -m babel_jax train --config=configs/gpt2.py:1b3 --config.corpus=/mnt/corpora/the_stack --run=multilingual \\
    --mixture=runs/the_stack_mix.json --workdir=gs://BUCKET/the_stack
"""

FOLDERS = dict(python="python", php="php", csharp="c-sharp", go="go", cpp="c++")
COLUMNS = dict(
    content="content",
    path="max_stars_repo_path",
    project="max_stars_repo_name",
    licence="max_stars_repo_licenses",
)


def get_config(data: str = "runs/the_stack") -> dict:
    return dict(
        vocab_size=50304,
        max_length=2048,
        languages={
            language: dict(
                sources=(dict(path=f"{data}/data/{folder}", format="parquet", name="the_stack", columns=COLUMNS),)
            )
            for language, folder in FOLDERS.items()
        },
        clean=dict(licence=True, near_duplicates=False),
    )
