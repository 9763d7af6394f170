"""The config of a study, as --config and --config.KEY=VALUE give it."""

import ast
import warnings

from babel_jax.common.errors import UserError, shown


def load_config(path: str, settings: list[str]):
    """The study config that `get_config()` of a file returns, with `--config.KEY=VALUE` settings applied.

    Raises:
      UserError: a file or a setting that gives no config, in one line that names the key.
    """
    from ml_collections import ConfigDict

    from babel_jax.common import python_files, schema
    from babel_jax.study import plan

    config = python_files.read(path, "config", "configs/")
    if not isinstance(config, ConfigDict):
        raise UserError(f"get_config() of {path} returns {shown(config)}; it must return a ConfigDict.")
    changes = plan.STUDY.check(config)
    for setting in settings:
        key, equals, text = setting.removeprefix("--config.").partition("=")
        if not setting.startswith("--config.") or not equals:
            raise UserError(f"cannot read the argument '{setting}'; settings are written --config.KEY=VALUE.")
        value = _literal(text)
        for part in reversed(key.split(".")):
            value = {part: value}
        changes = schema.merged(changes, plan.STUDY.check(value))
    return plan.from_changes(changes)


def explained_keys() -> str:
    """All keys of a config, with their defaults and what they mean."""
    from babel_jax.common import schema
    from babel_jax.study import plan

    about = "Keys of a config, in its file or as --config.KEY=VALUE; what is left out is as here."
    return f"{about}\n\n{schema.explained(plan.STUDY)}"


def _literal(text: str):
    """The Python literal that a setting gives; anything else is text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an escape such as "\\d"
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
