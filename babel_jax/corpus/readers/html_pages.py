"""HTML pages: the text between the marks of blocks, without code, navigation and scripts. The id of a block is its key."""

import re

from babel_jax.corpus.readers import marked_blocks
from babel_jax.corpus.readers.prose_files import Paragraphs, names, prose_reader

BLOCKS = names(
    "address article blockquote body caption center dd details dialog div dl dt fieldset figcaption figure form h1 h2 h3 h4 h5 "
    "h6 hr html li main ol p section summary table tbody td tfoot th thead tr ul"
)
SKIPPED = names("aside footer head header nav pre")
HIDDEN = names("button iframe math noscript object script select style svg template textarea")
# What pages of Sphinx, DocBook and texinfo call their navigation and their tables of contents.
NAVIGATION = re.compile(
    r"(^|\s)(nav(header|footer|-?bar|igation|_?panel)?|toc|tocdiv|sphinxsidebar|related|breadcrumbs)(\s|$)"
)
# What LibreOffice's help hides in a line and its script shows; beside it stand the words for other systems and programs.
SHOWN = "default"
NAMED = names("blockquote caption dd dt h1 h2 h3 h4 h5 h6 li p td th")
COUNTED = re.compile(r"id[-m]?\w?[\d.]+$|index-|ftn\.|docs-internal")  # given by a program, in each language anew


def _role(element) -> marked_blocks.Role:
    tag = element.tag
    if tag in SKIPPED or (tag in BLOCKS and NAVIGATION.search(element.get("class", ""))):
        return "skipped"
    if tag in BLOCKS:
        return "block"
    if tag in HIDDEN or (element.get("hidden") is not None and not element.get("id", "").startswith(SHOWN)):
        return "hidden"
    return "space" if tag == "br" else "inline"


def _name(element) -> str:
    called = element.get("id", "") if element.tag in NAMED else ""
    return "" if COUNTED.match(called) else called


def paragraphs(text: str) -> Paragraphs:
    """(id or "", text) of the blocks of a page, however broken it is. Raises a ValueError where it cannot be read at all."""
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.LxmlError as error:
        raise ValueError(str(error)) from error
    return () if root is None else marked_blocks.paragraphs(root, _role, _name)


READER = prose_reader("html", (".html", ".htm", ".xhtml"), paragraphs)
