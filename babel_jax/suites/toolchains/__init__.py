"""The toolchains, a file a language; README.md in the folder above says how to add one."""

from babel_jax.common.errors import UserError
from babel_jax.languages.registry import language as language_record
from babel_jax.suites.toolchains import cpp, csharp, go, php, python
from babel_jax.suites.toolchains.toolchain import Toolchain

TOOLCHAINS: dict[str, type[Toolchain]] = {
    "python": python.Python,
    "php": php.PHP,
    "csharp": csharp.CSharp,
    "go": go.Go,
    "cpp": cpp.Cpp,
}


def kind(language: str) -> type[Toolchain]:
    """The class of a language's toolchain; `UserError`: the language is unknown, or has none."""
    title = language_record(language).title
    if language not in TOOLCHAINS:
        raise UserError(
            f"there is no toolchain for {title}, so its programs cannot be judged; leave it out with --languages, which may "
            f"name {', '.join(TOOLCHAINS)}."
        )
    return TOOLCHAINS[language]


def find(language: str) -> Toolchain:
    """The toolchain of a language; `UserError` as of `kind`, or with the line that installs what is missing."""
    return kind(language)()
