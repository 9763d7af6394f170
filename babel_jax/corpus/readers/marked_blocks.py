"""The paragraphs of a tree of marked-up text: what stands between the marks of blocks."""

from collections.abc import Callable
from typing import Literal

from babel_jax.corpus.readers.prose_files import Paragraphs

# block: a paragraph begins and another ends at each of its marks. space: the same as a space. skipped: ends the paragraph, and
# what is in it counts for nothing. hidden: the same, within a paragraph. inline: all others.
Role = Literal["block", "space", "skipped", "hidden", "inline"]


def paragraphs(root, role: Callable[[object], Role], name: Callable[[object], str]) -> Paragraphs:
    """(name, text) of each paragraph below an lxml element; `name`: of a block, what the paragraph that it begins is called."""
    from lxml import etree

    walk = etree.iterwalk(root, events=("start", "end"))
    roles, parts, called = [], [], ""
    for event, element in walk:
        if event == "start":
            roles.append(role(element) if isinstance(element.tag, str) else "hidden")  # an entity that stays closed
            if roles[-1] in ("block", "skipped"):
                yield called, "".join(parts)
                parts, called = [], name(element) if roles[-1] == "block" else ""
            if roles[-1] == "space":
                parts.append(" ")
            if roles[-1] in ("skipped", "hidden"):
                walk.skip_subtree()
            elif element.text:
                parts.append(element.text)
        else:
            if roles.pop() == "block":
                yield called, "".join(parts)
                parts, called = [], ""
            if element.tail and roles:
                parts.append(element.tail)
