"""Licences by their SPDX identifiers: which are permissive, and what an expression of several permits."""

import re
from collections.abc import Iterable

# SPDX identifiers of licences that ask for little more than their notice to be kept, and of two dedications to the public.
PERMISSIVE = (
    *("0BSD", "AFL-2.1", "AFL-3.0", "Apache-1.1", "Apache-2.0", "Artistic-2.0", "BlueOak-1.0.0", "BSD-1-Clause"),
    *(
        "BSD-2-Clause",
        "BSD-2-Clause-Patent",
        "BSD-3-Clause",
        "BSD-3-Clause-Clear",
        "BSD-4-Clause",
        "BSL-1.0",
        "CC0-1.0",
    ),
    *("ECL-2.0", "FSFAP", "FTL", "HPND", "ICU", "ISC", "JasPer-2.0", "Libpng", "libpng-2.0", "MIT", "MIT-0", "MIT-CMU"),
    *("MIT-Modern-Variant", "MulanPSL-2.0", "MS-PL", "NCSA", "NTP", "OLDAP-2.8", "OpenSSL", "PHP-3.01", "PostgreSQL"),
    *("PSF-2.0", "Python-2.0", "Ruby", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "UPL-1.0", "W3C", "X11", "Zlib"),
    *("zlib-acknowledgement", "ZPL-2.1"),
)


def permitted(licence: str, allowed: Iterable[str]) -> bool:
    """Whether an SPDX expression lets its user choose among the allowed licences: "MIT OR GPL-2.0" does where MIT is one.

    Expressions with brackets inside are not taken apart and count as not permitted.
    """
    allowed = {name.lower() for name in allowed}
    expression = re.sub(r"^\((.*)\)$", r"\1", licence.strip().lower())
    if "(" in expression or ")" in expression:
        return False
    choices = (choice.split(" and ") for choice in " ".join(expression.split()).split(" or "))
    return any(all(name in allowed for name in names) for names in choices)
