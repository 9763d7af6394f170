"""Whether a document holds a problem of a benchmark: its prompt or its solution, however it is laid out.

A text is cut into chunks of at least CHUNK code tokens; those that many texts share, or that everybody writes, are left
out. The others are looked for in the document, all whitespace removed on both sides. It holds the text where at least
SHARE of them stand in it, and FEWEST or all: all do in a copy with other indentation and line breaks, most do where a line
was left out or comments were put between the lines. Copies with renamed variables, translations, and
texts that are too short (SHORTEST) are missed.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from ahocorasick_rs import BytesAhoCorasick, Implementation

CHUNK = 6  # tokens
SHARE = 0.7  # of a text's distinct chunks
FEWEST = 5  # chunks
SHORTEST = 40  # characters of a text's chunks together
# A chunk of more texts than both belongs to how a suite writes its prompts, not to one problem in many languages.
COMMON_TEXTS, COMMON_SHARE = 50, 0.02
# Solutions that stand in much code that has never seen a benchmark.
COMMONPLACE = (
    r"str1 = re.sub('(.)([A-Z][a-z]+)', r'\1_\2', text) return re.sub('([a-z0-9])([A-Z])', r'\1_\2', str1).lower()",
    "import re return ''.join(x.capitalize() or '_' for x in word.split('_'))",
    "for i in range(2, n): if n % i == 0: return False return True",
    "for (int i = 2; i < n; i++) { if (n % i == 0) { return false; } } return true;",
)
TOKEN = re.compile(rb"\w+|[^\w\s]")
WHITESPACE = b" \t\n\r\f\v"


class Index:
    """The texts of benchmarks, to be looked for in documents."""

    def __init__(self, texts: Iterable[tuple[str, str]]):
        """`texts`: (name, text), such as ("humaneval/php/HumanEval/3 prompt", "<?php …")."""
        named = [(name, _chunks(text)) for name, text in texts]
        common = max(COMMON_TEXTS, COMMON_SHARE * len(named))
        commonplace = [_squeezed(text) for text in COMMONPLACE]
        distinctive = {
            chunk
            for chunk, count in Counter(chunk for _, chunks in named for chunk in chunks).items()
            if count <= common and not any(chunk in text for text in commonplace)
        }
        self._names, self._enough, holders = [], [], defaultdict(list)
        for name, chunks in named:
            chunks &= distinctive
            if sum(map(len, chunks)) >= SHORTEST:
                for chunk in chunks:
                    holders[chunk].append(len(self._names))
                self._names.append(name)
                self._enough.append(max(SHARE * len(chunks), min(FEWEST, len(chunks))))
        patterns = sorted(holders)
        self._holders = [holders[pattern] for pattern in patterns]
        self._search = BytesAhoCorasick(patterns, implementation=Implementation.ContiguousNFA)

    def find(self, text: str) -> str | None:
        """The name of the first of the texts that the document holds, or None."""
        hits = self._search.find_matches_as_indexes(_squeezed(text), overlapping=True)
        counts = Counter(number for chunk in {hit[0] for hit in hits} for number in self._holders[chunk])
        first = min((number for number, count in counts.items() if count >= self._enough[number]), default=None)
        return None if first is None else self._names[first]


def _squeezed(text: str) -> bytes:
    return text.encode().translate(None, WHITESPACE)


def _chunks(text: str) -> set[bytes]:
    """A text's distinct chunks, without whitespace. Each ends with its line where it can: fewer break when lines move."""
    chunks, tokens = set(), []
    for line in text.encode().splitlines():
        tokens += TOKEN.findall(line)
        if len(tokens) >= CHUNK:
            last = (len(tokens) // CHUNK - 1) * CHUNK  # it takes what is left over, too
            chunks.update(b"".join(tokens[start : start + CHUNK]) for start in range(0, last, CHUNK))
            chunks.add(b"".join(tokens[last:]))
            tokens = []
    return chunks
