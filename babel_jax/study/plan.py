"""What a study is: its config, the runs that follow from it, and the config and the material of each run."""

import collections
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from babel_jax.common import files, run_names
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.limits import MOST_TOKENS
from babel_jax.common.material import Material, Shapes
from babel_jax.common.run_names import PER_LANGUAGE, ROLES, RunName
from babel_jax.common.schema import SEED, TOP, Choice, Key, Many, Number, Place, Section, Table, Text
from babel_jax.corpus import corpus_files, mixture_files
from babel_jax.corpus.build_folder import is_corpus
from babel_jax.corpus.corpus_material import material as corpus_material
from babel_jax.languages.registry import LANGUAGES, Definition, definition
from babel_jax.measuring import study_walk as measuring
from babel_jax.organism import world, world_material
from babel_jax.organism.notation import NOTATIONS
from babel_jax.study import candidates
from babel_jax.training import config as run_config
from babel_jax.training.runs import Run

# What a study trains on, and the languages that there are of it.
KINDS = {
    "organism": ("language of the embedded world", NOTATIONS),
    "text": ("language", LANGUAGES),
    "real_code": ("language", LANGUAGES),  # "text", as earlier versions called it
}

_SHARES = Many(Number(low=0, high=1), once=True)
# Every key of a study's config; configs/organism.py shows how they are used.
STUDY = Section(
    {
        "kind": Key(Choice("kind of study", KINDS), "organism", "programs of the embedded world, or texts of a corpus"),
        "primary": Key(Text("a language"), "", "the language that is learned first"),
        "new": Key(
            Text("a language, or several with commas between them"),
            "",
            "the language that is learned after it, or several",
        ),
        "seeds": Key(Many(SEED, least=1, once=True), (0,), "every run is trained once with each"),
        "definitions": Key(
            Table(Definition()),
            {},
            "language -> the file that describes it, of those that neither package nor corpus has",
        ),
        "world": Key(world.SECTION, {}, "the embedded world (kind='organism')"),
        "corpus": Key(Text(), "", "the directory that `corpus build` made (kind='text')"),
        "vocab_size": Key(
            Number(low=0, whole=True),
            0,
            "what the corpus must have, and what `compile` takes without a corpus (0: not given)",
        ),
        "context": Key(
            Number(low=0, whole=True),
            0,
            "tokens that a model sees at once: what the corpus must have, and what `compile` takes (0: not given)",
        ),
        "heldout_rows": Key(
            Number(low=1, whole=True), 64, "validation rows of each language that are measured on (kind='text')"
        ),
        "prompt_tokens": Key(
            Number(low=1, whole=True), 64, "tokens in front of a call site that a prompt holds (kind='text')"
        ),
        "common": Key(run_config.RUN, {}, "what all runs change of a run's defaults"),
        "runs": Key(
            Table(run_config.RUN, Choice("role of a run", ROLES)),
            {},
            "role of a run -> what it changes beyond `common`; in `stages`, primary, new and new_control stand for the languages",
        ),
        "original": Key(
            Table(Number(above=0, high=MOST_TOKENS)), {}, "language -> its tokens in the original corpus, in any unit"
        ),
        # From-scratch mixes beside the original one, all of `runs.mix`'s steps:
        "sweep": Key(
            _SHARES, (), "from-scratch mixes: shares of the new languages, split among them as in the original"
        ),
        "swarm": Key(
            Number(low=0, high=10_000, whole=True),
            0,
            "random from-scratch mixes per seed, of one seed each, for the mixing law",
        ),
        "candidates": Key(
            Many(Text("the name of a candidate", filled=True), once=True),
            (),
            "corpora to train from scratch: Algorithm 1's, schedules, and their rivals (see candidates.py)",
        ),
        "share_grid": Key(
            Number(low=0, high=100, whole=True),
            0,
            "rounds what candidates ask for to so many shares in each factor of two, so that near ones are one mix (0: no)",
        ),
        "replay": Key(_SHARES, (), "further continual runs: their shares of the primary, for the candidate `schedule`"),
    }
)


def default() -> ConfigDict:
    """A study's config without runs."""
    return from_changes({})


def from_changes(changes: dict, at: Place = TOP) -> ConfigDict:
    """A study's config with `changes` (nested mappings); its sections `world`, `common` and `runs` hold only what they change.

    Raises:
      UserError: an unknown key, or a value that it cannot have, in one line that names the key (below `at`).
    """
    changes = STUDY.check(changes, at)
    if definitions := changes.get("definitions"):
        changes["definitions"] = {
            name: definition(name, each, at / "definitions" / name) for name, each in definitions.items()
        }
    config = ConfigDict({name: changes.get(name, key.default) for name, key in STUDY.keys.items()})
    # config.json says nothing of the package's languages, and is as of a version that knew no grid.
    for name in ("definitions", "share_grid"):
        if not config[name]:
            del config[name]
    return config


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` where the values of several keys do not make a study."""
    languages = new_languages(config)
    (noun, known), hint = KINDS[config.kind], ""
    if config.kind != "organism":
        known = {*known, *config.get("definitions", ())}
        hint = " One of your own comes with the corpus, if that is there, or has its file in `definitions`."
    for key, name in (("primary", config.primary), *(("new", name) for name in languages)):
        if name not in known:
            raise UserError(f"{key}: {unknown_name(noun, name, known)}{hint}")
    if config.primary in languages or len(set(languages)) < len(languages):
        raise UserError(f"new={config.new} names {config.primary} or a language twice; each new language stands once.")
    for role in ("primary_only", "continual", "new_only", *(("replay",) if config.replay else ())):
        if role not in config.runs:
            raise UserError(f"the study has no run '{role}'; add it to `runs`.")
    for role in config.runs:
        _check_chain(config, role)
    if "mix" not in config.runs:
        for key in ("sweep", "swarm", "candidates"):
            if config[key]:
                raise UserError(f"{key} asks for from-scratch mixes, and the study has no run 'mix'; add it to `runs`.")
    candidates.validate(config.candidates, replay=config.replay, swarm=config.swarm, sweep=config.sweep)
    for key in ("sweep", "replay"):
        names = collections.Counter(f"{share:.4f}" for share in config[key])
        if twice := [name for name, count in names.items() if count > 1]:
            raise UserError(
                f"{key} has two shares that are {twice[0]} to four digits, by which a run is named; leave one out."
            )
    if config.kind == "organism":
        world_config(config)
    original_tokens(config)


def _with_definitions_of_its_corpus(config: ConfigDict) -> ConfigDict:
    """The config with what its corpus was built with of languages that the package does not have, for who reads it without."""
    if config.kind == "organism" or not config.corpus or not is_corpus(Path(config.corpus)):
        return config
    contents, definitions = (
        corpus_files.read_contents(Path(config.corpus)),
        run_config.plain(config.get("definitions", {})),
    )
    for name in (config.primary, *new_languages(config)):
        if (built_with := contents.definition(name)) and definitions.setdefault(name, built_with) != built_with:
            raise UserError(
                f"definitions.{name} is not the one that the corpus {config.corpus} was built with; leave it out, or build "
                "the corpus again."
            )
    return from_changes(run_config.plain(config) | {"definitions": definitions}) if definitions else config


def _check_chain(config: ConfigDict, role: str) -> None:
    """Refuses a run that starts from itself, be it by way of others."""
    chain = [role]
    while (source := _source(config, chain[-1])) in config.runs:
        chain.append(source)
        if source in chain[:-1]:
            raise UserError(f"runs start from each other: {' from '.join(chain)}; change runs.{role}.init_from.")


def _source(config: ConfigDict, role: str) -> str:
    """The run that those of a role start from; "": from their seed."""
    return config.runs[role].get("init_from", config.common.get("init_from", ""))


def new_languages(config: ConfigDict) -> tuple[str, ...]:
    return tuple(name.strip() for name in config.new.split(","))


def original_tokens(config: ConfigDict) -> dict[str, float]:
    """The original corpus's token amounts, the primary's first.

    Raises:
      UserError: `original` does not give those of all languages, or gives others.
    """
    amounts, languages = config.original.to_dict(), (config.primary, *new_languages(config))
    if set(amounts) != set(languages):
        raise UserError(
            f"`original` must give tokens for {', '.join(languages)}; it gives {', '.join(amounts) or 'none'}."
        )
    return {language: float(amounts[language]) for language in languages}


def world_config(config: ConfigDict) -> world.WorldConfig:
    return world.WorldConfig(primary=config.primary, new=new_languages(config), **config.world.to_dict())


class Study:
    """A study: a config, a directory, and the runs that follow from them. What is dear to make is made once and kept.

    Attributes:
      config: see `STUDY`.
      directory: where its runs lie, as `files.path` gives it; None for one that is only looked at.
      languages: the new ones.
      mixtures: {name: mix} of those whose mixture files are still to be written to the directory.
    """

    def __init__(self, config: ConfigDict, directory: str | os.PathLike | None = None):
        """Raises a `UserError` where the values of several keys of the config do not make a study."""
        config = _with_definitions_of_its_corpus(config)
        validate(config)
        self.config = config
        self.directory = None if directory is None else files.path(directory)
        self.languages = new_languages(config)
        self.mixtures: Mapping[str, candidates.PlannedMix] = {}
        self._materials: dict[int, dict[str, Material]] = {}
        self._bases: dict[int, np.ndarray] = {}

    # --- its runs -------------------------------------------------------------------------------------------------------

    def name(self, text: str) -> RunName:
        """The run that a user, or the config, calls so.

        Raises:
          UserError: it is not a run of this study.
        """
        files.safe_name(text, "the run's name")  # its folder and its mixture file are called so
        name = run_names.parse(text, self.languages)
        if name.role not in self.config.runs:
            raise unknown_name("run", text, [*self.config.runs, "mix_0.5000"])
        language_of(name, self.languages)  # with several languages it must say one
        if (name.candidate or name.share is not None) and name.role not in ("mix", "replay"):
            raise unknown_name("run", text, [name.role])
        return name

    def planned(self, seed: int) -> list[RunName]:
        """The runs of one seed that need nothing that others measured, the longest chain first, each once."""
        config, names = self.config, []
        for role in (role for role in ROLES if role in config.runs and role not in ("mix", "replay")):
            names += self._in_languages(RunName(role)) if role in PER_LANGUAGE else [RunName(role)]
        for share in config.replay:
            names += self._in_languages(RunName("replay", share=round(share, 4)))
        if "mix" in config.runs:
            names += [run_names.mix_of_share(share) for share in (self.original_share, *config.sweep)]
            first = config.swarm * list(config.seeds).index(seed)
            names += [run_names.swarm(number) for number in range(first, first + config.swarm)]
            names += [run_names.mix(name) for name in config.candidates if not candidates.is_measured(name)]
        return list(dict.fromkeys(names))

    def _in_languages(self, name: RunName) -> list[RunName]:
        """The run in each new language, which with several of them its name says."""
        return [name] if len(self.languages) == 1 else [name.in_language(language) for language in self.languages]

    def needs(self, name: RunName) -> list[RunName]:
        """Runs of the same seed that must be done first."""
        source = _source(self.config, name.role)
        return [run_names.parse(source, self.languages)] if source else []

    def run(self, name: RunName, seed: int) -> Run:
        """One run with its config, directory and materials.

        Raises:
          UserError: it has no mixture, or its corpus is not there.
        """
        return Run(name, self.config_of(name, seed), self.directory_of(name, seed), self.materials_of(name, seed))

    def as_long(self, name: RunName) -> RunName:
        """A run that is known and as long as this one: itself, or of a mix that follows from measurements the original one."""
        file = self.directory and self.directory / "mixtures" / f"{name.mix}.json"
        known = not name.candidate or name.is_online or name.mix in self.mixtures or (file and file.exists())
        return name if known else run_names.mix_of_share(self.original_share)

    def directory_of(self, name: RunName, seed: int):
        return self.directory and self.directory / f"seed{seed}" / str(name)

    def config_of(self, name: RunName, seed: int) -> ConfigDict:
        """The config of one run: what the study changes of a run's defaults for all and for the role, and what its name says."""
        result = run_config.override(run_config.default(), self.config.common.to_dict(), Place("", ("common",)))
        result = run_config.override(result, self.config.runs[name.role].to_dict(), Place("", ("runs", name.role)))
        changes = {"seed": seed} | self._mixture(name, result)
        if source := self.needs(name):
            changes["init_from"] = f"../{source[0]}"
        return run_config.override(result, changes)

    def _mixture(self, name: RunName, settings: ConfigDict) -> dict:
        """What a run's name says of its stages, and of its steps where its mixture file is for another number of tokens."""
        if settings.mixture:
            if name.mix and name.role == "mix":
                raise UserError(f"run '{name}' has its mixture in its name; train --run=mix with a mixture file.")
            return {"stages": mixture_files.read(settings.mixture).stages}
        if name.is_online:
            return {"stages": (_stage(self.original),), "online": {"every": candidates.ADO_EVERY}}
        if name.role == "mix":
            return self._mix(name)
        primary, new = self.config.primary, language_of(name, self.languages)
        if name.role == "replay":
            share = _share_of(name)
            return {"stages": (_stage({primary: share, new: 1 - share}),)}
        meant = {"primary": primary}
        if new:
            meant |= {"new": new, "new_control": f"{new}_control"}
        return {"stages": tuple(_named(stage, meant, name) for stage in run_config.plain(settings.stages))}

    def _mix(self, name: RunName) -> dict:
        file = self.directory and self.directory / "mixtures" / f"{name.mix}.json"
        if file and file.exists():
            made = mixture_files.read(file)
            if made.steps is None:
                raise UserError(
                    f"{file} does not say for how many steps it is; add `steps`, or delete it to have it made again."
                )
            return {"stages": made.stages, "steps": made.steps}
        if planned := self.mixtures.get(name.mix):
            return {"stages": planned.stages, "steps": planned.steps}
        share, amounts = _share_of(name), self.original
        of_new = sum(amounts.values()) - amounts[self.config.primary]
        weights = {language: share * amount / of_new for language, amount in amounts.items()}
        return {"stages": (_stage(weights | {self.config.primary: 1 - share}),)}

    def with_mixture(self, name: RunName, file: str) -> "Study":
        """This study with a mixture file for the role of one run."""
        config = self.config.copy_and_resolve_references()
        # A new section: that of a role may be another's, too.
        config.runs[name.role] = ConfigDict(config.runs[name.role].to_dict() | {"mixture": file})
        return Study(config, self.directory)

    def shapes_of(self, name: RunName) -> tuple[ConfigDict, Shapes]:
        """A run's config and what of its material decides the shapes on the device; no corpus need be there."""
        config, seed = self.config, self.config.seeds[0]
        settings = self.config_of(name, seed)
        run_config.validate(settings)
        if config.kind != "organism" and config.vocab_size and config.context:
            return settings, Shapes(config.vocab_size, config.context, frozen_rows=0, document_end=0)
        material = self.materials_of(name, seed)[0]
        return settings, Shapes(material.vocab_size, material.max_length, material.frozen_rows, material.document_end)

    # --- what it trains on, and measures with ---------------------------------------------------------------------------

    @property
    def original(self) -> dict[str, float]:
        """The original corpus's token amounts, the primary's first."""
        return original_tokens(self.config)

    @property
    def original_share(self) -> float:
        """The new languages' share of the tokens of the original corpus, to the four digits that name its mix."""
        return round(1 - self.original[self.config.primary] / sum(self.original.values()), 4)

    def materials(self, seed: int) -> dict[str, Material]:
        """For each new language what the study trains on and measures it with, for one seed."""
        if seed not in self._materials:
            self._materials[seed] = load_materials(self.config, seed)
        return self._materials[seed]

    def materials_of(self, name: RunName, seed: int) -> tuple[Material, ...]:
        """What a run is measured with: its language's material, or those of all new languages."""
        language = language_of(name, self.languages)
        return (self.materials(seed)[language],) if language else tuple(self.materials(seed).values())

    def base_activations(self, seed: int) -> np.ndarray:
        """The primary-only run's FFN activations at the primary's slots, by which functional neurons are identified."""
        if seed not in self._bases:
            run = self.run(RunName("primary_only"), seed)
            self._bases[seed] = measuring.base_activations(run)
        return self._bases[seed]


def language_of(name: RunName, languages: Sequence[str]) -> str | None:
    """The new language of a run in a study of these; None for one that has to do with all of them."""
    if name.role not in PER_LANGUAGE:
        return None
    if not name.language and len(languages) > 1:
        raise unknown_name("run", str(name), [str(name.in_language(language)) for language in languages])
    return name.language or languages[0]


def load_material(config: ConfigDict, seed: int, run: str) -> Material:
    """What the run of a directory that is called so is measured with; `config` need not be a whole study."""
    languages = new_languages(config)
    language = language_of(run_names.parse(run, languages), languages)
    return load_materials(config, seed)[language or languages[0]]


def load_materials(config: ConfigDict, seed: int) -> dict[str, Material]:
    """For each new language what a study of this config trains on and measures it with, for one seed."""
    if config.kind == "organism":
        return world_material.materials(world_config(config), seed)
    materials = {
        new: corpus_material(config.corpus, config.primary, new, config.heldout_rows, config.prompt_tokens)
        for new in new_languages(config)
    }
    material = materials[new_languages(config)[0]]
    for name, size in (("vocab_size", material.vocab_size), ("context", material.max_length)):
        if config[name] not in (0, size):
            raise UserError(
                f"the config wants {name}={config[name]} and the corpus {config.corpus} has {size}; build the corpus "
                f"with that, or set --config.{name}={size}."
            )
    return materials


def _named(stage: dict, names: dict[str, str], run: RunName) -> dict:
    """A stage with the languages' names in place of those that stand for them."""
    weights = {names.get(source, source): weight for source, weight in stage["weights"].items()}
    if len(weights) < len(stage["weights"]):
        raise UserError(
            f"run '{run}' gives {', '.join(stage['weights'])} weights, of which two are one source; leave one out."
        )
    return stage | {"weights": weights}


def _stage(weights: dict[str, float]) -> dict:
    return {"tokens": 0, "weights": {source: weight for source, weight in weights.items() if weight}}


def _share_of(name: RunName) -> float:
    if name.share is None:
        raise UserError(
            f"run '{name}' names neither a share nor a mixture of the study; write {name.role}_0.5000, or give a file: "
            "--run=mix --mixture=FILE."
        )
    return name.share
