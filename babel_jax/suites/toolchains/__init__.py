"""The toolchains, a file a language; README.md in the folder above says how to add one."""

from babel_jax.common.errors import UserError
from babel_jax.languages.registry import language as language_record
from babel_jax.suites.toolchains import cpp, csharp, go, php, python
from babel_jax.suites.toolchains.toolchain import Toolchain

# By the names that the languages' files give them under `toolchain`.
TOOLCHAINS: dict[str, type[Toolchain]] = {
    "python": python.Python,
    "php": php.PHP,
    "csharp": csharp.CSharp,
    "go": go.Go,
    "cpp": cpp.Cpp,
}


def kind(language: str) -> type[Toolchain]:
    """The class of a language's toolchain; `UserError`: the language is unknown, or has none."""
    record = language_record(language)
    if record.toolchain not in TOOLCHAINS:
        raise UserError(
            f"there is no toolchain for {record.title}, so its programs cannot be judged; leave it out: --languages names "
            "the ones that are wanted."
        )
    return TOOLCHAINS[record.toolchain]


def find(language: str) -> Toolchain:
    """The toolchain of a language; `UserError` as of `kind`, or with the line that installs what is missing."""
    return kind(language)()
