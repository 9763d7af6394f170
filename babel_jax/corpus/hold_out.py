"""What natural languages hold out, all of them at once: a document and its translations are one project, held out in all or none.

Prompts are cut out of what is held out, before words of pairs; most words are too rare for a twentieth of the text to hold
enough of them. So documents are chosen first for the words that still lack prompts, by how many they bring for their length,
and then by their hashes until every language has its share.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Hashable, Mapping

PROMPTS = 10  # of a word, which held-out documents are chosen for
# Of a word's prompts at most this share is sought in held-out text: a model must have read the word elsewhere.
SOUGHT_SHARE = 0.5
OVERSHOOT = 1.5  # of a language's share, where a project is large
BytesOf = Mapping[str, Mapping[str, int]]  # language -> project -> bytes
Words = Mapping[str, Mapping[Hashable, int]]  # project -> word of a pair -> prompts that it would give


def together(bytes_of: BytesOf, share: float, words: Words, pairs: Mapping[Hashable, Hashable]) -> set[str]:
    """The projects that are held out, `share` of each language's bytes.

    At least one project of a language is held out and one stays, if it has two.

    Args:
      words: prompts of the words that pairs are made of. A word has a name of its own in each language and pair.
      pairs: word -> the other one of its pair; both need prompts.
    """
    chosen = _Chosen(bytes_of, share)
    _for_words(chosen, words, pairs)
    for language, sizes in bytes_of.items():
        for project in sorted(sizes, key=_hash):
            if chosen.bytes[language] >= chosen.target[language]:
                break
            if chosen.fits(project, OVERSHOOT):
                chosen.add(project)
        free = [project for project in sizes if chosen.leaves_some(project)]
        if not chosen.count[language] and free:
            chosen.add(min(free, key=lambda name: (sizes[name], name)))
    return chosen.projects


class _Chosen:
    """Projects held out so far, and what they add up to in each language."""

    def __init__(self, bytes_of: BytesOf, share: float):
        self.bytes_of = bytes_of
        self.target = {language: share * sum(sizes.values()) for language, sizes in bytes_of.items()}
        self.projects: set[str] = set()
        self.bytes, self.count = Counter(), Counter()

    def _in(self, project: str):
        return ((language, sizes[project]) for language, sizes in self.bytes_of.items() if project in sizes)

    def cost(self, project: str) -> float:
        """The largest part of a language's share that it takes."""
        return max(size / max(self.target[language], 1) for language, size in self._in(project))

    def fits(self, project: str, share: float) -> bool:
        """Whether it is free, and no language has more than this part of its share with it, or nothing left to train on."""
        return self.leaves_some(project) and all(
            self.bytes[language] + size <= share * self.target[language] for language, size in self._in(project)
        )

    def leaves_some(self, project: str) -> bool:
        return project not in self.projects and all(
            self.count[language] + 1 < len(self.bytes_of[language]) for language, _ in self._in(project)
        )

    def add(self, project: str) -> None:
        self.projects.add(project)
        for language, size in self._in(project):
            self.bytes[language] += size
            self.count[language] += 1


def _for_words(chosen: _Chosen, words: Words, pairs) -> None:
    """Chooses projects, greedily: each time the one that brings the most lacking prompts for what it takes of the shares."""
    total = Counter()
    for prompts in words.values():
        total.update(prompts)
    most = {word: int(SOUGHT_SHARE * total[word]) for word in total}
    lacking = {word: PROMPTS for word in total if min(most[word], most.get(pairs[word], 0)) >= PROMPTS}

    def gain(project):
        return sum(min(count, lacking.get(word, 0)) for word, count in words[project].items())

    queue = [(-gain(project) / max(chosen.cost(project), 1e-12), project) for project in words]
    heapq.heapify(queue)
    while queue:
        estimate, project = heapq.heappop(queue)
        worth = -gain(project) / max(
            chosen.cost(project), 1e-12
        )  # it falls with what others have brought, and never rises
        if worth > estimate and queue and worth > queue[0][0]:
            heapq.heappush(queue, (worth, project))
        elif worth < 0 and chosen.fits(project, 1.0):
            chosen.add(project)
            for word, count in words[project].items():
                if word in lacking:
                    lacking[word] = max(0, lacking[word] - count)


def divided(bytes_of: BytesOf, held_out: set[str]) -> dict[str, str]:
    """For the disjoint arm: project -> the one language that is trained on it, of those that stand in several.

    Languages lose about the same share of their text.
    """
    training = {
        language: {project: size for project, size in sizes.items() if project not in held_out}
        for language, sizes in bytes_of.items()
    }
    languages_of: dict[str, list[str]] = {}
    for language, sizes in training.items():
        for project in sizes:
            languages_of.setdefault(project, []).append(language)
    total = {language: max(1, sum(sizes.values())) for language, sizes in training.items()}
    given = {
        language: sum(size for project, size in sizes.items() if len(languages_of[project]) == 1)
        for language, sizes in training.items()
    }
    taken = {}
    for project in sorted((project for project, languages in languages_of.items() if len(languages) > 1), key=_hash):
        taken[project] = min(languages_of[project], key=lambda language: given[language] / total[language])
        given[taken[project]] += training[taken[project]][project]
    return taken


def _hash(project: str) -> bytes:
    return hashlib.sha256(project.encode("utf-8", "replace")).digest()
