"""What the verbs `probe` and `evaluate` ask of a run: the texts of its study, of a corpus, of files of prompts or problems."""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict
from tqdm import tqdm

from babel_jax.common import files
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.files import content_hash, read_json
from babel_jax.common.material import Material
from babel_jax.common.schema import Place
from babel_jax.corpus import loose_texts, sentences
from babel_jax.corpus.corpus_files import Corpus
from babel_jax.corpus.corpus_files import load as load_corpus
from babel_jax.corpus.corpus_material import several
from babel_jax.corpus.loose_texts import Amounts
from babel_jax.corpus.manifest import Manifest
from babel_jax.corpus.tokenizer import HuggingFace, SentencePiece, Tokenizer, of_files
from babel_jax.corpus.tokenizer import load as load_tokenizer
from babel_jax.languages import registry
from babel_jax.languages.language import Language
from babel_jax.measuring import probe_walk, walk
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.tokenizer_files import TokenizerFiles
from babel_jax.organism import world
from babel_jax.probes import prompts
from babel_jax.study import plan
from babel_jax.suites import completions, problems, suite_files, world_problems
from babel_jax.training import hosts
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

    By default these are the texts of the study that the run lies in; else of `config`, of a `corpus`, or loose `texts`, read
    with the model's own tokenizer. `prompts` (a file) takes the place of the material's own; of a model that lies in no study
    it may stand alone, and then there are no rows. `parallel` (NAME=FILE,NAME=FILE) takes the place of a corpus's sentences.
    """

    config: ConfigDict | None = None
    seed: int | None = None
    corpus: Path | None = None
    languages: tuple[str, ...] = ()
    rows: int = 64
    prompt_tokens: int = 64
    prompts: str | None = None
    identifiers: str = "first"
    texts: Manifest | None = None
    row_tokens: int = Amounts().row_tokens
    prompts_per_pair: int = Amounts().per_pair
    parallel: str | None = None
    _read: dict = dataclasses.field(default_factory=dict, init=False)  # loose texts, by tokenizer and model

    def __call__(self, source: walk.Source) -> tuple[Material, str | None]:
        prompts.check_mode(self.identifiers)
        if self.rows < 1 or self.prompt_tokens < 1:
            raise UserError("--rows and --prompt_tokens are at least 1.")
        if self.texts or (self.prompts and not (self.corpus or self.config or in_study(source.directory))):
            return self._with_own_tokenizer(source)
        config = self.config or (plan.default() if self.corpus else _config_of(source))
        directory = self.corpus or (config.corpus if config.kind != "organism" else "")
        corpus = load_corpus(Path(directory)) if directory else None
        if self.corpus:
            if len(set(self.languages)) < 2:
                raise UserError("--corpus needs --languages: the primary, then at least one other.")
            _check_same_tokenizer(source, corpus)
            material = several(self.corpus, self.languages, self.rows, self.prompt_tokens)
        else:
            seed = source.seed if self.seed is None else self.seed
            material = plan.load_material(config, seed, source.name)
        material = probe_walk.chosen(material, self.languages)
        tokenizer, language_of = (corpus.tokenizer, corpus.language) if corpus else (None, None)
        material = self._prompted(material, tokenizer, language_of)
        return self._with_sentences(material, tokenizer), corpus.tokenizer.sha if corpus else None

    def _with_own_tokenizer(self, source: walk.Source) -> tuple[Material, str | None]:
        # Prompts may be token ids, which need no tokenizer.
        tokenizer = tokenizer_of(source) if self.texts or has_tokenizer(source.tokenizer()) else None
        model, sha = _model_of(source), tokenizer.sha if tokenizer else None
        key = sha, tokenizer and tokenizer.begin, model.vocab_size, model.max_length
        if key not in self._read:
            material = self._prompted(self._loose(tokenizer, model), tokenizer, self._language)
            self._read[key] = self._with_sentences(material, tokenizer)
        return self._read[key], sha

    def _loose(self, tokenizer: Tokenizer | None, model: DecoderConfig) -> Material:
        """Rows and prompts of the loose texts; without any, only what a file of prompts needs."""
        if self.texts is None:
            if len(set(self.languages)) != 2:
                raise UserError("a file of prompts holds two languages; name them: --languages=PRIMARY,NEW.")
            length = min(self.prompt_tokens, model.max_length)
            return loose_texts.bare(self.languages, tokenizer, model.vocab_size, length)
        for name in self.languages:
            if name not in self.texts.languages:
                raise unknown_name("language of the texts", name, self.texts.languages)
        chosen = {name: self.texts.languages[name] for name in self.languages or self.texts.languages}
        most = 0 if self.prompts else self.prompts_per_pair
        amounts = Amounts(self.rows, self.row_tokens, self.prompt_tokens, most)
        texts = dataclasses.replace(self.texts, languages=chosen)
        sizes = {"vocab_size": model.vocab_size, "longest": model.max_length}
        material = loose_texts.material(texts, tokenizer, **sizes, amounts=amounts)
        for line in loose_texts.summary(material.about) if hosts.is_first() else ():
            tqdm.write(line, file=sys.stderr)  # not into a bar that stands there
        return material

    def _with_sentences(self, material: Material, tokenizer: Tokenizer | None) -> Material:
        """The material with the sentences of the user's files."""
        if not self.parallel:
            return material
        if tokenizer is None:
            raise UserError("--parallel needs a tokenizer, and this model has none; leave it out.")
        lines = sentences.read_lines(self.parallel)
        known = [material.primary, *sorted({material.new, *material.heldout} - {material.primary})]
        for name in lines:
            if name not in known:
                raise unknown_name("language of --parallel", name, known)
        if material.primary not in lines:
            raise UserError(f"--parallel lacks the primary language; give {material.primary}=FILE.")
        asked = {name: dict(tasks) for name, tasks in material.tasks_in.items()}
        for name in [name for name in lines if name != material.primary]:
            found = sentences.parallel(lines, material.primary, name, tokenizer, material.max_length)
            asked.setdefault(name, {})[sentences.RETRIEVAL] = found
        fingerprint = content_hash([material.fingerprint, lines])
        return dataclasses.replace(material.asking(asked), fingerprint=fingerprint)

    def _language(self, name: str) -> Language:
        return self.texts.language(name)

    def _prompted(
        self, material: Material, tokenizer: Tokenizer | None, language_of: Callable[[str], Language] | None
    ) -> Material:
        """The material with the prompts of the file, or with what stands for the identifiers of its own."""
        if self.prompts:
            if len({*material.heldout, material.primary, material.new}) > 2:
                raise UserError("a file of prompts holds two languages; name them: --languages=PRIMARY,NEW.")
            return prompted(material, self.prompts, tokenizer, self.prompt_tokens, self.identifiers)
        if self.identifiers == "first":
            return material
        if tokenizer is None:
            raise UserError(f"--identifiers={self.identifiers} needs a tokenizer, and the embedded world has none.")
        slots = {}
        for language, here in material.slots.items():
            new = _new_of(material) if language == material.primary else language
            pairs = registry.identifier_pairs(language_of(material.primary), language_of(new))
            slots[language], messages = prompts.with_identifiers(here, pairs, tokenizer, self.identifiers)
            for message in messages:
                print(message, file=sys.stderr)
        return dataclasses.replace(
            material, slots=slots, fingerprint=content_hash([material.fingerprint, self.identifiers])
        )


def prompted(
    material: Material, given, tokenizer: Tokenizer | None, prompt_tokens: int, identifiers: str = "first"
) -> Material:
    """A material with other prompts than its own.

    Args:
      given: as of `prompts.read_prompts`.
      prompt_tokens: of context, at most.
    """
    length = min(prompt_tokens, material.max_length)
    pair = material.primary, material.new
    slots = prompts.read_prompts(given, pair, tokenizer, material.vocab_size, length, identifiers)
    said = str(given) if isinstance(given, list | tuple) else _text(given)
    fingerprint = content_hash([material.fingerprint, said, identifiers, length])
    return dataclasses.replace(material, slots=slots, fingerprint=fingerprint)


def tokenizer_of(source: walk.Source) -> Tokenizer:
    """The tokenizer that a model was trained with: of files that came with it, or of the corpus of the study that it lies in.

    Raises:
      UserError: it has none, as a model of the embedded world, or one that cannot be used; or nothing says which it is.
    """
    if kept := source.tokenizer():
        return tokenizer_in(kept, source)
    config = _config_of(source)
    if config.kind == "organism":
        raise UserError(
            f"{source} is of the embedded world, whose tokens are no text: it reads no --texts; leave them out."
        )
    return load_tokenizer(Path(config.corpus))


def has_tokenizer(kept: TokenizerFiles | None) -> bool:
    """Whether what came with a model holds a tokenizer; None: nothing came."""
    return kept is not None and not {HuggingFace.file, SentencePiece.file}.isdisjoint(kept.contents)


def tokenizer_in(kept: TokenizerFiles, source: object) -> Tokenizer:
    """The tokenizer that came with `source`; raises as `tokenizer_of`."""
    return of_files(kept.contents, kept.tokens.get("eos_token_id"), f"the tokenizer of {source}")


def _check_same_tokenizer(source: walk.Source, corpus: Corpus) -> None:
    """Refuses a corpus whose token ids mean something else to a model that came with a tokenizer of its own."""
    kept = source.tokenizer()
    ours = corpus.tokenizer
    if not has_tokenizer(kept) or kept.contents.get(ours.file) == ours.content:
        return
    if tokenizer_in(kept, source).pieces() != ours.pieces():
        raise UserError(
            f"{corpus.directory} was built with another tokenizer than the one that came with {source}; name the texts by "
            "--texts, which are read with the model's own, or build the corpus with that."
        )


def _model_of(source: walk.Source) -> DecoderConfig:
    """The model of a source's first checkpoint, of which nothing but its description is read."""
    for step in source.steps():
        if checkpoint := source.opened(step):
            return checkpoint.model
    raise UserError(f"{source} has no finished checkpoint; {source.none_yet}.")


def _new_of(material: Material) -> str:
    """The language with which the pairs of the primary's prompts are."""
    for pair, about in material.about.get("pairs", {}).items():
        if material.primary in about["prompts"]:
            return pair.partition("-")[2]
    return material.new


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


def in_study(run_dir) -> bool:
    """Whether a run's directory (None: it has none) lies in a study."""
    return run_dir is not None and _config_place(run_dir).exists()


def _config_place(run_dir):
    return run_dir.parent.parent / "config.json"


def _config_of(source: walk.Source) -> ConfigDict:
    """The config of the study whose texts are read by default."""
    instead = "--texts=LANGUAGE=DIR,LANGUAGE=DIR, --corpus=DIR or --config=FILE"
    if source.directory is None:
        raise UserError(f"{source} belongs to no study; say what to read: {instead}.")
    return study_config(source.directory, instead)


def study_config(run_dir, instead: str) -> ConfigDict:
    """The config of the study that a run lies in; `instead`: what to give where there is none."""
    path = _config_place(run_dir)
    if not path.exists():
        raise UserError(f"{run_dir} lies in no study; say what to read: {instead}.")
    mend = "put back a copy of it, or say what to read: " + instead
    return plan.from_changes(read_json(path, STUDY, mend), Place(str(path)))


def _text(path) -> str:
    return files.path(path).read_bytes().decode()
