"""Rows of any kind of table as documents: a row, a document.

A row of another language is passed over if the table has a column of languages. Missing content makes a document without one.
"""

import re

from babel_jax.common.errors import UserError, unknown_name

_BLANK_LINES = re.compile(rb"\n\s*\n")


def row_document(source, place, number, content, size, values):
    """The document of a row. `values`: what its other columns hold; `number` names it where none holds a path."""
    project = values.get("project") or ""
    path = (values["path"],) if values.get("path") else (source.relative(place), str(number))
    licences = values.get("licence") or ()
    licences = (licences,) if isinstance(licences, str) else tuple(licence for licence in licences if licence)
    document = source.document((project, *path), content, size, licences, project)
    if not values.get("key") or not document.content:
        return document
    return document._replace(content=_BLANK_LINES.sub(b"\n", content), keys=(values["key"],))  # one paragraph


def is_of_language(source, values):
    return "language" not in source.columns or (values["language"] or "").casefold() in source.wanted


def require_columns(source, place, known):
    for column in source.columns.values():
        if column not in known:
            raise UserError(f"{place}: {unknown_name('column', column, known)} Name it in the source's columns.")


def wrong_type(place, column, kind):
    return UserError(
        f"the column '{column}' of {place} holds {kind}, not text; name another one in the source's columns."
    )
