"""What the patterns of the package find in some texts, as one digest a module; run by test_pythons.py with other Pythons.

Needs the standard library alone. A module that this Python cannot import, for want of a package built for it, gives the
reason instead of a digest.
"""

import hashlib
import importlib
import json
import re
import sys


def matches(name, texts):
    """What a module finds in texts: {language or "secrets": [text]}."""
    module = importlib.import_module(f"babel_jax.{name}")
    languages = importlib.import_module("babel_jax.languages.registry")
    each = [(languages.language(name), text) for name in texts if name in languages.LANGUAGES for text in texts[name]]
    if name == "languages.lexical":
        return [list(map(list, module.not_code(text, language))) for language, text in each]
    if name == "suites.stops":
        halves = [(language.name, text[: len(text) // 2], text[len(text) // 2 :]) for language, text in each]
        return [module.cut(*half, ("\n\n", "//"), block) for half in halves for block in (False, True)]
    if name == "suites.toolchains.go":
        return [module.repaired_imports("package main\n" + text) for text in texts["go"]]
    if name == "suites.toolchains.cpp":
        return [module.includes_all_headers_first(text) for text in texts["cpp"]]
    if name == "corpus.addresses":
        return [list(module.public_addresses(text)) for text in texts["secrets"]]
    if name == "corpus.redact":
        return [module.redact(text) for text in texts["secrets"]]
    uses = [pair[0] for pair in languages.language("cpp").pairs["python"]]
    return [module.sites(text, use, languages.language("python")) for text in texts["python"] for use in uses]


MODULES = (
    "languages.lexical",
    "suites.stops",
    "suites.toolchains.go",
    "suites.toolchains.cpp",
    "corpus.addresses",
    "corpus.redact",
    "corpus.call_sites",
)


def digests(texts):
    """Module -> {"digest"}, or {"not run": why}."""
    by_module = {}
    for name in MODULES:
        try:
            by_module[name] = {"digest": hashlib.sha256(json.dumps(matches(name, texts)).encode()).hexdigest()}
        except ImportError as error:
            by_module[name] = {
                "not run": f"not run, a package is not built for it ({' '.join(str(error).split())[:60]})"
            }
    return by_module


def watched(atomic):
    """Notes every pattern from now on that has a possessive repeat or an atomic group."""
    compile = re._compiler.compile

    def noted(pattern, flags=0):
        parts = repr(re._parser.parse(pattern, flags).data) if isinstance(pattern, str) else ""
        if "POSSESSIVE_REPEAT" in parts or "ATOMIC_GROUP" in parts:
            atomic.append(pattern)
        return compile(pattern, flags)

    re._compiler.compile = noted


if __name__ == "__main__":
    atomic = []
    watched(atomic)
    print(json.dumps({"digests": digests(json.load(sys.stdin)), "atomic": atomic}))
