"""Pages of Mallard and of DocBook, in XML: the text of titles, paragraphs, items and cells, without code, media and credits."""

from babel_jax.corpus.readers import marked_blocks
from babel_jax.corpus.readers.prose_files import Paragraphs, names, prose_reader

# Elements within a paragraph; all others are blocks.
INLINE = names(  # Mallard (projectmallard.org/1.0)
    "app cmd code em file gui guiseq hi input key keyseq link output span sys var "
    # DocBook 4 and 5
    "abbrev accel acronym action application citetitle classname command computeroutput constant email emphasis envar "
    "errorname filename firstterm foreignphrase function guibutton guiicon guilabel guimenu guimenuitem guisubmenu interface "
    "keycap keycode keycombo keysym literal menuchoice mousebutton option optional parameter phrase productname property "
    "quote replaceable shortcut subscript superscript symbol systemitem term trademark type ulink uri userinput varname "
    "wordasword xref"
)
SKIPPED = names(
    "address author authorgroup cmdsynopsis comment copyright credit editor funcsynopsis include keywords legalnotice license "
    "literallayout mediaobject media othercredit programlisting revision revhistory screen synopsis years"
)
HIDDEN = names("footnote footnoteref indexterm inlinemediaobject remark")
_TEXT = names("p title desc subtitle para simpara td entry term")  # where Mallard's code stands in a line


def _tag(element) -> str:
    return element.tag.rpartition("}")[2]


def _role(element) -> marked_blocks.Role:
    tag, parent = _tag(element), element.getparent()
    is_in_line = parent is not None and (_tag(parent) in _TEXT or _tag(parent) in INLINE)
    if tag == "link" and not is_in_line:  # of Mallard's info, which leads elsewhere
        return "skipped"
    if tag in ("code", "media") and is_in_line:
        return "inline" if tag == "code" else "hidden"
    if tag in SKIPPED or tag == "code":
        return "skipped"
    if tag in HIDDEN:
        return "hidden"
    return "inline" if tag in INLINE else "block"


def _name(element) -> str:
    return element.get("id") or element.get("{http://www.w3.org/XML/1998/namespace}id") or ""


def paragraphs(text: str) -> Paragraphs:
    """(id or "", text) of a page's blocks. Entities that the page declares stay closed. Raises a ValueError if it is not XML."""
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, encoding="utf-8"
    )
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.LxmlError as error:
        raise ValueError(f"it is no XML: {error}") from error
    return marked_blocks.paragraphs(root, _role, _name)


READER = prose_reader("mallard", (".page", ".docbook"), paragraphs)
