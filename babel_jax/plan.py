"""What a study is: its config, the runs that follow from it, and the config and the material of each run."""

import collections
from collections.abc import Mapping
from types import MappingProxyType

from ml_collections import ConfigDict

from babel_jax import candidates, files, mixtures, run_names
from babel_jax.corpus.material import material as corpus_material
from babel_jax.errors import UserError, unknown_name
from babel_jax.languages import LANGUAGES
from babel_jax.limits import MOST_TOKENS
from babel_jax.material import Material
from babel_jax.optimum import algorithm1
from babel_jax.organism import world
from babel_jax.organism.languages import DIALECTS
from babel_jax.schema import SEED, TOP, Choice, Key, Many, Number, Place, Section, Table, Text
from babel_jax.training import config as run_config

PER_LANGUAGE = ("continual", "control", "new_only", "replay")  # with several new languages there is one of each
ROLES = ("primary_climb", "primary_only", *PER_LANGUAGE, "multilingual", "multilingual_optimized", "mix")
# What a study trains on, and the languages that there are of it.
KINDS = {"organism": ("language of the embedded world", DIALECTS), "real_code": ("language", LANGUAGES)}
NO_MIXES = MappingProxyType({})
ADO = "mix_ado"  # the one mix whose weights are chosen while it trains

_SHARES = Many(Number(low=0, high=1), once=True)
# Every key of a study's config; configs/organism.py shows how they are used.
STUDY = Section(
    {
        "kind": Key(Choice("kind of study", KINDS), "organism", "programs of the embedded world, or real source code"),
        "primary": Key(Text("a language"), "", "the language that is learned first"),
        "new": Key(
            Text("a language, or several with commas between them"),
            "",
            "the language that is learned after it, or several",
        ),
        "seeds": Key(Many(SEED, least=1, once=True), (0,), "every run is trained once with each"),
        "world": Key(world.SECTION, {}, "the embedded world (kind='organism')"),
        "corpus": Key(Text(), "", "the directory that `corpus build` made (kind='real_code')"),
        "vocab_size": Key(
            Number(low=0, whole=True),
            0,
            "what the corpus must have, and what `compile` takes without a corpus (0: not said)",
        ),
        "context": Key(
            Number(low=0, whole=True),
            0,
            "tokens that a model sees at once: what the corpus must have, and what `compile` takes (0: not said)",
        ),
        "heldout_rows": Key(
            Number(low=1, whole=True), 64, "validation rows of each language that are measured on (kind='real_code')"
        ),
        "prompt_tokens": Key(
            Number(low=1, whole=True), 64, "tokens in front of a call site that a prompt holds (kind='real_code')"
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
    return ConfigDict({name: changes.get(name, key.default) for name, key in STUDY.keys.items()})


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` where the values of several keys make no study."""
    languages = new_languages(config)
    noun, known = KINDS[config.kind]
    for key, name in (("primary", config.primary), *(("new", name) for name in languages)):
        if name not in known:
            raise UserError(f"{key}: {unknown_name(noun, name, known)}")
    if config.primary in languages or len(set(languages)) < len(languages):
        raise UserError(f"new={config.new} names {config.primary} or a language twice; each new language stands once.")
    for role in ("primary_only", "continual", "new_only", *(("replay",) if config.replay else ())):
        if role not in config.runs:
            raise UserError(f"the study has no run '{role}'; add it to `runs`.")
    for role in config.runs:
        _check_chain(config, role)
    candidates.validate(config.candidates, replay=config.replay, swarm=config.swarm, sweep=config.sweep)
    for key in ("sweep", "replay"):
        names = collections.Counter(f"{share:.4f}" for share in config[key])
        if twice := [name for name, count in names.items() if count > 1]:
            raise UserError(
                f"{key} has two shares that are {twice[0]} to four digits, by which a run is named; leave one out."
            )
    if config.kind == "organism":
        world_config(config)


def _check_chain(config: ConfigDict, role: str) -> None:
    """Refuses a run that starts from itself, be it by way of others."""
    chain = [role]
    while sources := [source for source in needs(config, chain[-1]) if source in config.runs]:
        chain += sources
        if sources[0] in chain[:-1]:
            raise UserError(f"runs start from each other: {' from '.join(chain)}; change runs.{role}.init_from.")


def new_languages(config: ConfigDict) -> tuple[str, ...]:
    return tuple(name.strip() for name in config.new.split(","))


def world_config(config: ConfigDict) -> world.WorldConfig:
    return world.WorldConfig(primary=config.primary, new=new_languages(config), **config.world.to_dict())


def load_materials(config: ConfigDict, seed: int) -> dict[str, Material]:
    """For each new language what the study trains on and measures it with, for one seed."""
    if config.kind == "organism":
        return world.materials(world_config(config), seed)
    found = {
        new: corpus_material(config.corpus, config.primary, new, config.heldout_rows, config.prompt_tokens)
        for new in new_languages(config)
    }
    material = found[new_languages(config)[0]]
    for name, size in (("vocab_size", material.vocab_size), ("context", material.max_length)):
        if config[name] not in (0, size):
            raise UserError(
                f"the config wants {name}={config[name]} and the corpus {config.corpus} has {size}; build the corpus "
                f"with that, or set --config.{name}={size}."
            )
    return found


def load_material(config: ConfigDict, seed: int, name: str = "") -> Material:
    """What one run is measured with; without a language of its own, that of the first new language."""
    return load_materials(config, seed)[language_of(config, name) or new_languages(config)[0]]


def shapes_of(config: ConfigDict, name: str) -> tuple[ConfigDict, dict]:
    """A run's config and what of its material decides the shapes on the device; no corpus need be there."""
    check_run(config, name)
    run = make_run_config(config, name, config.seeds[0])
    run_config.validate(run)
    if config.kind == "real_code" and config.vocab_size and config.context:
        shapes = {"vocab_size": config.vocab_size, "max_length": config.context, "frozen_rows": 0, "document_end": 0}
        return run, shapes
    material = load_material(config, config.seeds[0], name)
    return run, {key: getattr(material, key) for key in ("vocab_size", "max_length", "frozen_rows", "document_end")}


def original_share(config: ConfigDict) -> float:
    """The new languages' share of the tokens of the original corpus."""
    amounts = config.original.to_dict()
    if set(amounts) != {config.primary, *new_languages(config)}:
        raise UserError(
            f"`original` must give tokens for {', '.join((config.primary, *new_languages(config)))}; it gives "
            f"{', '.join(amounts) or 'none'}."
        )
    return round(1 - amounts[config.primary] / sum(amounts.values()), 4)


def role_of(name: str) -> str:
    """The role of a run: the part of its name that says neither a language nor a share nor a mixture."""
    return next((role for role in ("mix", *PER_LANGUAGE) if name == role or name.startswith(f"{role}_")), name)


def language_of(config: ConfigDict, name: str) -> str | None:
    """The new language of a run; None for one that has to do with all of them."""
    languages = new_languages(config)
    if role_of(name) not in PER_LANGUAGE:
        return None
    if len(languages) == 1:
        return languages[0]
    language = run_names.parse(name, languages).language
    if not language:
        raise unknown_name("run", name, [run_name(config, role_of(name), language) for language in languages])
    return language


def run_name(config: ConfigDict, role: str, language: str) -> str:
    """The name of a role's run in one new language, which with several languages names it."""
    return role if len(new_languages(config)) == 1 else f"{role}_{language}"


def run_settings(config: ConfigDict, role: str) -> ConfigDict:
    """A run's defaults with what the study changes for all, and what it changes for a role."""
    result = run_config.override(run_config.default(), config.common.to_dict(), Place("", ("common",)))
    return run_config.override(result, config.runs[role].to_dict(), Place("", ("runs", role)))


def make_run_config(config: ConfigDict, name: str, seed: int, workdir=None, mixes: Mapping = NO_MIXES) -> ConfigDict:
    """The config of one run: `run_settings` with the run's seed and what its name says.

    `workdir`: the study's directory, where the mixture files of its candidates lie; `mixes`: {candidate's name: content} of
    those that are still to be written.
    """
    role, language = role_of(name), language_of(config, name)
    result = run_settings(config, role)
    fixed = {"seed": seed}
    if result.mixture:
        if name.startswith("mix_"):
            raise UserError(f"run '{name}' has its mixture in its name; train --run=mix with a mixture file.")
        fixed["stages"] = mixtures.read(result.mixture)["stages"]
    elif name == ADO:
        fixed |= {"stages": (_stage(original_weights(config)),), "online": {"every": candidates.ADO_EVERY}}
    elif role == "mix":
        fixed |= _mix(config, name.removeprefix("mix_"), workdir, mixes)
    elif role == "replay":
        share = _share_of(name, name.removeprefix("replay").removeprefix("_").partition("_")[0])
        fixed["stages"] = (_stage({config.primary: share, language: 1 - share}),)
    else:
        names = {"primary": config.primary}
        if language:
            names |= {"new": language, "new_control": f"{language}_control"}
        fixed["stages"] = tuple(_named(stage, names, name) for stage in run_config.plain(result.stages))
    if result.init_from:
        fixed["init_from"] = f"../{result.init_from}"
    return run_config.override(result, fixed)


def _named(stage: dict, names: dict[str, str], run: str) -> dict:
    """A stage with the languages' names in place of those that stand for them."""
    weights = {names.get(source, source): weight for source, weight in stage["weights"].items()}
    if len(weights) < len(stage["weights"]):
        raise UserError(
            f"run '{run}' gives {', '.join(stage['weights'])} weights, of which two are one source; leave one out."
        )
    return stage | {"weights": weights}


def _stage(weights: dict[str, float]) -> dict:
    return {"tokens": 0, "weights": {source: weight for source, weight in weights.items() if weight}}


def original_weights(config: ConfigDict) -> dict[str, float]:
    return {language: float(config.original[language]) for language in (config.primary, *new_languages(config))}


def _mix(config, name: str, workdir, mixes) -> dict:
    """What a mix changes: its stages, and its steps where its mixture file is for another number of tokens."""
    file = workdir and files.path(workdir) / "mixtures" / f"{name}.json"
    found = mixtures.read(file) if file and file.exists() else mixes.get(name)
    if found:
        if "steps" not in found:
            raise UserError(
                f"{file} does not say for how many steps it is; add `steps`, or delete it to have it made again."
            )
        return {"stages": found["stages"], "steps": found["steps"]}
    share, amounts = _share_of(f"mix_{name}", name), original_weights(config)
    of_new = sum(amounts.values()) - amounts[config.primary]
    weights = {language: share * amount / of_new for language, amount in amounts.items()}
    return {"stages": (_stage(weights | {config.primary: 1 - share}),)}


def _share_of(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = None
    if share is None or not 0 <= share <= 1:
        raise UserError(
            f"run '{name}' names neither a share nor a mixture of the study; write {role_of(name)}_0.5000, or give a file: "
            "--run=mix --mixture=FILE."
        )
    return share


def with_mixture(config: ConfigDict, name: str, file: str) -> ConfigDict:
    """The study's config with a mixture file for the role of one run."""
    check_run(config, name)
    result = config.copy_and_resolve_references()
    role = role_of(name)  # a new section: that of a role may be another's, too
    result.runs[role] = ConfigDict(result.runs[role].to_dict() | {"mixture": file})
    return result


def needs(config: ConfigDict, name: str) -> list[str]:
    """Runs of the same seed that must be done first."""
    init_from = config.runs[role_of(name)].get("init_from", config.common.get("init_from", ""))
    return [init_from] if init_from else []


def planned_runs(config: ConfigDict, seed: int) -> list[str]:
    """Names of the runs of one seed that need nothing that others measured, the longest chain first, each once."""
    names = []
    for role in (role for role in ROLES if role in config.runs and role not in ("mix", "replay")):
        languages = new_languages(config) if role in PER_LANGUAGE else ("",)
        names += [run_name(config, role, language) if language else role for language in languages]
    for share in config.replay:
        names += [run_name(config, f"replay_{share:.4f}", language) for language in new_languages(config)]
    if "mix" in config.runs:
        shares = dict.fromkeys([original_share(config), *config.sweep])
        names += [algorithm1.mix_name(share) for share in shares]
        first = config.swarm * list(config.seeds).index(seed)
        names += [f"mix_swarm_{number:02d}" for number in range(first, first + config.swarm)]
        names += [f"mix_{name}" for name in config.candidates if not candidates.is_measured(name)]
    return list(dict.fromkeys(names))


def check_run(config: ConfigDict, name: str) -> None:
    """Refuses a config that is no study, and a run that it does not have."""
    validate(config)
    files.safe_name(name, "the run's name")  # its folder and its mixture file are called so
    if role_of(name) not in config.runs:
        raise unknown_name("run", name, [*config.runs, "mix_0.5000"])
    language_of(config, name)
