"""What the verbs `probe` and `evaluate` ask of a run: the texts of its study, of a corpus, of files of prompts or problems."""

import dataclasses
import functools
import sys
from pathlib import Path

from ml_collections import ConfigDict

from babel_jax.common import files
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.files import content_hash, read_json
from babel_jax.common.material import Material
from babel_jax.common.schema import Place
from babel_jax.corpus.corpus_files import Corpus
from babel_jax.corpus.corpus_files import load as load_corpus
from babel_jax.corpus.corpus_material import several
from babel_jax.languages import registry
from babel_jax.measuring import probe_walk, walk
from babel_jax.organism import world
from babel_jax.probes import prompts
from babel_jax.study import plan
from babel_jax.suites import completions, problems, suite_files, world_problems
from babel_jax.training.runs import seed_of

STUDY = {
    "kind?": str,
    "primary?": str,
    "seeds?": [int],
    "world?": dict,
    "corpus?": str,
}  # read of a study's config.json


@dataclasses.dataclass
class ProbeTexts:
    """What the verb `probe` reads: called with a `walk.Source`, gives (the material, the hash of its tokenizer or None).

    By default these are the texts of the study that the run lies in; else of `config`, or of a `corpus`. `prompts` (a
    file) takes the place of the material's own.
    """

    config: ConfigDict | None = None
    seed: int | None = None
    corpus: Path | None = None
    languages: tuple[str, ...] = ()
    rows: int = 64
    prompt_tokens: int = 64
    prompts: str | None = None
    identifiers: str = "first"

    def __call__(self, source: walk.Source) -> tuple[Material, str | None]:
        config = self.config or (plan.default() if self.corpus else _config_of(source))
        directory = self.corpus or (config.corpus if config.kind == "real_code" else "")
        corpus = load_corpus(Path(directory)) if directory else None
        if self.rows < 1 or self.prompt_tokens < 1:
            raise UserError("--rows and --prompt_tokens are at least 1.")
        if self.corpus:
            if len(set(self.languages)) < 2:
                raise UserError("--corpus needs --languages: the primary, then at least one other.")
            material = several(self.corpus, self.languages, self.rows, self.prompt_tokens)
        else:
            seed = source.seed if self.seed is None else self.seed
            material = plan.load_material(config, seed, source.name)
        material = self._prompted(probe_walk.chosen(material, self.languages), corpus)
        return material, corpus.tokenizer.sha if corpus else None

    def _prompted(self, material: Material, corpus: Corpus | None) -> Material:
        prompts.check_mode(self.identifiers)
        tokenizer = corpus.tokenizer if corpus else None
        if self.prompts:
            if len(material.heldout) > 2:
                raise UserError("a file of prompts holds two languages; name them: --languages=PRIMARY,NEW.")
            length = min(self.prompt_tokens, material.max_length)
            slots = prompts.read_prompts(
                self.prompts, (material.primary, material.new), tokenizer, material.vocab_size, length, self.identifiers
            )
            return dataclasses.replace(
                material,
                slots=slots,
                fingerprint=content_hash([material.fingerprint, _text(self.prompts), self.identifiers, length]),
            )
        if self.identifiers == "first":
            return material
        if tokenizer is None:
            raise UserError(f"--identifiers={self.identifiers} needs a tokenizer, and the embedded world has none.")
        slots = {}
        for language, here in material.slots.items():
            new = material.new if language == material.primary else language
            pairs = registry.identifier_pairs(corpus.language(material.primary), corpus.language(new))
            slots[language], messages = prompts.with_identifiers(here, pairs, tokenizer, self.identifiers)
            for message in messages:
                print(message, file=sys.stderr)
        return dataclasses.replace(
            material, slots=slots, fingerprint=content_hash([material.fingerprint, self.identifiers])
        )


@dataclasses.dataclass
class SuiteTexts:
    """What the verb `evaluate` asks: called with a run directory, gives (the suites, the writer of its completions).

    `specs` are FORMAT:PATH (see suites/suite_formats.py), or "world" for the embedded world of the run's study. The
    tokenizer is that of `corpus`, or of the study that the run lies in.
    """

    specs: tuple[str, ...]
    languages: tuple[str, ...] = ()
    corpus: Path | None = None

    def __call__(self, run_dir) -> tuple[list[problems.Suite], completions.TextWriter | completions.WorldWriter]:
        if "world" in self.specs:
            return self._of_world(run_dir)
        config = None if self.corpus else study_config(run_dir, "--corpus=DIR")
        directory = self.corpus or config.corpus
        if not directory:
            raise UserError(
                f"{run_dir} has no tokenizer of texts; give --corpus=DIR, or --suite=world for its own problems."
            )
        return self.given(), completions.TextWriter(load_corpus(Path(directory)).tokenizer)

    def given(self) -> list[problems.Suite]:
        """The suites that stand in files."""
        return _given(self.specs, self.languages)

    def _of_world(self, run_dir):
        if self.specs != ("world",) or self.corpus:
            raise UserError("--suite=world stands alone, without other suites and without --corpus; leave them out.")
        config = study_config(run_dir, "a suite of files and --corpus=DIR")
        if config.kind != "organism":
            raise UserError(f"{run_dir} is not a run of the embedded world; give a suite of files.")
        seed = seed_of(run_dir)
        material = plan.load_materials(config, seed)[plan.new_languages(config)[0]]
        embedded = world.World(plan.world_config(config), seed)
        languages = tuple(dict.fromkeys(self.languages)) or embedded.languages
        for language in languages:
            if language not in embedded.languages:
                raise unknown_name("language of this run's world", language, embedded.languages)
        asked = [problem for language in languages for problem in world_problems.problems(embedded, language)]
        source = problems.SuiteFile(material.fingerprint, "generated", len(asked))
        return [problems.Suite("world", tuple(asked), {"world": source})], completions.WorldWriter(embedded, material)


@functools.lru_cache(maxsize=1)  # all runs are asked the same
def _given(specs, languages):
    suites = [suite_files.load(spec, languages) for spec in specs]
    seen = {}
    for spec, suite in zip(specs, suites, strict=True):
        for problem in suite.problems:
            key = problem.key
            if key in seen:
                raise UserError(f"{' '.join(key)} stands in {seen[key]} and again in {spec}; name one of them.")
            seen[key] = spec
    for name in languages:
        if name not in {language for _, language, _ in seen}:
            raise UserError(f"{' and '.join(specs)} hold no problem in {name}; leave it out, or name another suite.")
    return suites


def _config_of(source: walk.Source) -> ConfigDict:
    """The config of the study whose texts are read by default."""
    instead = "--corpus=DIR or --config=FILE"
    if source.directory is None:
        raise UserError(f"{source} belongs to no study; say what to read: {instead}.")
    return study_config(source.directory, instead)


def study_config(run_dir, instead: str) -> ConfigDict:
    """The config of the study that a run lies in; `instead`: what to give where there is none."""
    path = run_dir.parent.parent / "config.json"
    if not path.exists():
        raise UserError(f"{run_dir} lies in no study; say what to read: {instead}.")
    mend = "put back a copy of it, or say what to read: " + instead
    return plan.from_changes(read_json(path, STUDY, mend), Place(str(path)))


def _text(path) -> str:
    return files.path(path).read_bytes().decode()
