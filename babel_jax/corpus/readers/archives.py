"""What zip and tar archives share: which entries count, and which are unsafe.

Archives are read where they lie. Hidden folders are left out. An entry with an absolute name, "..", or that is a link or device
becomes a document of size -1. An archive that is cut off, lies about its sizes or unpacks to too much is a `UserError` that
names the entry. Archives inside of archives stay closed.
"""

import re

from babel_jax.common.errors import UserError, one_line
from babel_jax.corpus.readers.places import is_hidden


def damaged(place, name, error):
    return UserError(
        f"the entry {name} of {place} is damaged, or not as large as it says ({one_line(error)}); get the archive again."
    )


def is_unsafe(name):
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or not parts[0] or bool(re.match("[A-Za-z]:", name)) or "\0" in name


def is_source_file(source, name):
    return name.lower().endswith(source.language.extensions) and not is_hidden(name)
