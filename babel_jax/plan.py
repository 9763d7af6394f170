"""What a study is: its config, the runs that follow from it, and the config and the material of each run."""

from ml_collections import ConfigDict

from babel_jax import candidates, files, mixtures
from babel_jax.corpus.material import material as corpus_material
from babel_jax.errors import UserError, unknown_name
from babel_jax.evolution import measured
from babel_jax.material import Material
from babel_jax.optimum import algorithm1
from babel_jax.organism import world
from babel_jax.training import config as run_config

PER_LANGUAGE = ("continual", "control", "new_only", "replay")  # with several new languages there is one of each
ROLES = ("primary_climb", "primary_only", *PER_LANGUAGE, "multilingual", "multilingual_optimized", "mix")
KINDS = ("organism", "real_code")
ADO = "mix_ado"  # the one mix whose weights are chosen while it trains


def default() -> ConfigDict:
    """A study's config; configs/organism.py explains every key by using it."""
    return ConfigDict(
        dict(
            kind="organism",
            primary="",
            new="",  # one new language or, with commas between them, several
            seeds=(0,),
            world={},  # organism: see organism/world.py WorldConfig
            corpus="",  # real code: the directory that `corpus build` made
            vocab_size=0,  # real code: what the corpus must have, and what `compile` takes without one (0: not said)
            context=0,  # real code: tokens of its rows, likewise
            heldout_rows=64,  # real code: validation rows per language that are measured on
            prompt_tokens=64,  # real code: context of a call site
            common={},  # what all runs change of training/config.py's defaults
            # Role -> what it changes beyond `common`; in `stages`, "primary", "new" and "new_control" stand for the languages.
            runs={},
            original={},  # token amounts of the original corpus, by language
            # From-scratch mixes beside the original one, all of `runs.mix`'s steps:
            sweep=(),  # shares of the new languages, split among them as in the original
            swarm=0,  # random mixes per seed, each of one seed, for the mixing law
            candidates=(),  # names of candidates.py: Algorithm 1's corpora, schedules, and their rivals
            replay=(),  # the primary's shares of further continual runs, for the candidate `schedule`
        )
    )


def validate(config: ConfigDict) -> None:
    if config.kind not in KINDS:
        raise unknown_name("kind of study", config.kind, KINDS)
    for role in config.runs:
        if role not in ROLES:
            raise unknown_name("role of a run", role, ROLES)
    if not config.seeds:
        raise UserError("the study has no seeds; set seeds=(0,).")
    for key in ("sweep", "replay"):
        for share in config[key]:
            if not 0 <= share <= 1:
                raise UserError(f"a share in `{key}` is {share}; shares lie between 0 and 1.")
    for role in ("primary_only", "continual", "new_only", *(("replay",) if config.replay else ())):
        if role not in config.runs:
            raise UserError(f"the study has no run '{role}'; add it to `runs`.")
    candidates.validate(config.candidates, replay=config.replay, swarm=config.swarm, sweep=config.sweep)
    languages = new_languages(config)
    if config.primary in languages or len(set(languages)) < len(languages):
        raise UserError(f"new={config.new} names {config.primary} or a language twice; each new language stands once.")


def new_languages(config: ConfigDict) -> tuple[str, ...]:
    return tuple(name.strip() for name in config.new.split(","))


def world_config(config: ConfigDict) -> world.WorldConfig:
    known = world.WorldConfig.__dataclass_fields__
    for key in config.world:
        if key not in known:
            raise unknown_name("key of the world", key, known)
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
    language = measured.language_of(name, languages)
    if language is None:
        raise unknown_name("run", name, [run_name(config, role_of(name), language) for language in languages])
    return language


def run_name(config: ConfigDict, role: str, language: str) -> str:
    """The name of a role's run in one new language, which with several languages names it."""
    return role if len(new_languages(config)) == 1 else f"{role}_{language}"


def make_run_config(config: ConfigDict, name: str, seed: int, workdir=None) -> ConfigDict:
    """The config of one run: defaults, what the study changes for all, what it changes for the run's role.

    `workdir`: the study's directory, where the mixture files of its candidates lie.
    """
    role, language = role_of(name), language_of(config, name)
    result = run_config.override(run_config.default(), config.common.to_dict(), "common.")
    result = run_config.override(result, config.runs[role].to_dict(), f"runs.{role}.")
    fixed = {"seed": seed}
    if result.mixture:
        if name.startswith("mix_"):
            raise UserError(f"run '{name}' has its mixture in its name; train --run=mix with a mixture file.")
        fixed["stages"] = mixtures.read(result.mixture)["stages"]
    elif name == ADO:
        fixed |= {"stages": (_stage(original_weights(config)),), "online": {"every": candidates.ADO_EVERY}}
    elif role == "mix":
        fixed |= _mix(config, name.removeprefix("mix_"), workdir)
    elif role == "replay":
        share = _share_of(name, name.split("_")[1])
        fixed["stages"] = (_stage({config.primary: share, language: 1 - share}),)
    else:
        names = {"primary": config.primary, "new": language, "new_control": f"{language}_control"}
        fixed["stages"] = tuple(
            stage | {"weights": {names.get(source, source): weight for source, weight in stage["weights"].items()}}
            for stage in run_config.plain(result.stages)
        )
    if result.init_from:
        fixed["init_from"] = f"../{result.init_from}"
    return run_config.override(result, fixed)


def _stage(weights: dict[str, float]) -> dict:
    return {"tokens": 0, "weights": {source: weight for source, weight in weights.items() if weight}}


def original_weights(config: ConfigDict) -> dict[str, float]:
    return {language: float(config.original[language]) for language in (config.primary, *new_languages(config))}


def _mix(config, name: str, workdir) -> dict:
    """What a mix changes: its stages, and its steps where its mixture file is for another number of tokens."""
    file = workdir and files.path(workdir) / "mixtures" / f"{name}.json"
    if file and file.exists():
        found = mixtures.read(file)
        if not isinstance(found.get("steps"), int):
            raise UserError(f"{file} does not say how many steps its run takes; put back a copy of it.")
        return {"stages": found["stages"], "steps": found["steps"]}
    share, amounts = _share_of(f"mix_{name}", name), original_weights(config)
    of_new = sum(amounts.values()) - amounts[config.primary]
    weights = {language: share * amount / of_new for language, amount in amounts.items()}
    return {"stages": (_stage(weights | {config.primary: 1 - share}),)}


def _share_of(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"run '{name}' names neither a share nor a mixture of the study; write mix_0.5000, or give a file: --run=mix "
            "--mixture=FILE."
        ) from None


def with_mixture(config: ConfigDict, name: str, file: str) -> ConfigDict:
    """The study's config with a mixture file for the role of one run."""
    check_run(config, name)
    result = config.copy_and_resolve_references()
    role = role_of(name)  # a new section: that of a role may be another's, too
    result.runs[role] = ConfigDict(result.runs[role].to_dict() | {"mixture": file})
    return result


def needs(config: ConfigDict, name: str) -> list[str]:
    """Runs of the same seed that must be done first."""
    init_from = config.runs[role_of(name)].get("init_from", "")
    return [init_from] if init_from else []


def planned_runs(config: ConfigDict, seed: int) -> list[str]:
    """Names of the runs of one seed that need nothing that others measured, the longest chain first."""
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
    return names


def check_run(config: ConfigDict, name: str) -> None:
    """Refuses a config that is no study, and a run that it does not have."""
    validate(config)
    if role_of(name) not in config.runs:
        raise unknown_name("run", name, [*config.runs, "mix_0.5000"])
    language_of(config, name)
