"""What natural languages hold out, all of them at once: a document and its translations are one project, held out in all or none.

Prompts are cut out of what is held out, before words of pairs; most words are too rare for a twentieth of the text to hold
enough of them. So documents are chosen first for the words that still lack prompts, by how many they bring for their length,
and then by their hashes until every language has its share.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping

from babel_jax.corpus.projects import order

PROMPTS = 10  # of a word, which held-out documents are chosen for
# Of a word's prompts at most this share is sought in held-out text: a model must have read the word elsewhere.
SOUGHT_SHARE = 0.5
MOST = 2.0  # of a language's share, which is held out for the sake of words
OVERSHOOT = 1.5  # of a language's share, where a project is large
BytesOf = Mapping[str, Mapping[str, int]]  # language -> project -> bytes
Words = Mapping[str, Mapping[Hashable, int]]  # project -> word of a pair -> prompts that it would give


def together(bytes_of: BytesOf, share: float, words: Words, pairs: Mapping[Hashable, Hashable]) -> set[str]:
    """The projects that are held out, `share` of each language's bytes, up to MOST times as much where words need it.

    At least one project of a language is held out and one stays, if it has two.

    Args:
      words: prompts of the words that pairs are made of. A word has a name of its own in each language and pair.
      pairs: word -> the other one of its pair; both need prompts.
    """
    chosen = _Chosen(bytes_of, share)
    _for_words(chosen, words, pairs, MOST)
    for language, sizes in bytes_of.items():
        for project in sorted(sizes, key=order):
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
        return project not in self.projects and self.fit_together([project], share)

    def leaves_some(self, project: str) -> bool:
        return project not in self.projects and all(
            self.count[language] + 1 < len(self.bytes_of[language]) for language, _ in self._in(project)
        )

    def fit_together(self, projects: list[str], share: float) -> bool:
        """Whether all of them can be added."""
        size, number = Counter(), Counter()
        for project in projects:
            for language, bytes_here in self._in(project):
                size[language] += bytes_here
                number[language] += 1
        return all(
            self.bytes[language] + size[language] <= share * self.target[language]
            and self.count[language] + number[language] < len(self.bytes_of[language])
            for language in size
        )

    def remove(self, project: str) -> None:
        self.projects.discard(project)
        for language, size in self._in(project):
            self.bytes[language] -= size
            self.count[language] -= 1

    def add(self, project: str) -> None:
        self.projects.add(project)
        for language, size in self._in(project):
            self.bytes[language] += size
            self.count[language] += 1


class _Sought:
    """Prompts of words: in which projects they are, how many are held out, and how many are still to be found."""

    def __init__(self, words: Words, pairs: Mapping[Hashable, Hashable]):
        self.words, self.pairs, self.held = words, pairs, Counter()
        total, self.projects_of = Counter(), defaultdict(list)
        for project in sorted(words):
            total.update(words[project])
            for word in words[project]:
                self.projects_of[word].append(project)
        self.possible = {
            word
            for word in total
            if min(total[word], total[pairs[word]]) * SOUGHT_SHARE >= PROMPTS and pairs[word] in total
        }

    def lacks(self, word: Hashable) -> int:
        return max(0, PROMPTS - self.held[word]) if word in self.possible else 0

    def gain(self, project: str) -> int:
        return sum(min(count, self.lacks(word)) for word, count in self.words[project].items())

    def add(self, project: str) -> None:
        self.held.update(self.words.get(project, {}))

    def give_back(self, chosen: "_Chosen") -> None:
        """Takes out what no pair needs that has its prompts, the longest first; then there is room for other pairs."""
        have = {word for word in self.possible if not self.lacks(word) and not self.lacks(self.pairs[word])}
        for project in sorted(chosen.projects, key=lambda name: (-chosen.cost(name), name)):
            counts = self.words[project]
            if all(word not in have or self.held[word] - count >= PROMPTS for word, count in counts.items()):
                chosen.remove(project)
                self.held.subtract(counts)


def _for_words(chosen: _Chosen, words: Words, pairs, most: float) -> None:
    """Chooses projects for the words that lack prompts, up to `most` of each language's share.

    Greedily, first what brings the most of all words; what then serves no pair that is complete makes room for the projects
    of further pairs, the cheapest pair first. With technical text in two languages a third more pairs are complete by that.
    """
    sought = _Sought(words, pairs)
    _cover(chosen, sought, most)
    sought.give_back(chosen)
    _complete(chosen, sought, most)
    sought.give_back(chosen)


def _cover(chosen: _Chosen, sought: _Sought, most: float) -> None:
    """Adds projects, each time the one that brings the most lacking prompts for what it takes of the shares."""
    cost = {project: max(chosen.cost(project), 1e-12) for project in sought.words}
    queue = [(-sought.gain(project) / cost[project], project) for project in sought.words]
    heapq.heapify(queue)
    while queue:
        estimate, project = heapq.heappop(queue)
        worth = -sought.gain(project) / cost[project]  # it falls with what others have brought, and never rises
        if worth > estimate and queue and worth > queue[0][0]:
            heapq.heappush(queue, (worth, project))
        elif worth < 0 and chosen.fits(project, most):
            chosen.add(project)
            sought.add(project)


def _complete(chosen: _Chosen, sought: _Sought, most: float) -> None:
    """Adds the projects that a pair still needs, pair after pair, if they fit; the cheapest first by what was held out before."""
    queue = []
    for word in sorted(sought.possible):
        pair = (word, sought.pairs[word])
        if pair[0] < pair[1] and any(map(sought.lacks, pair)) and (plan := _plan(chosen, sought, pair)):
            queue.append((sum(map(chosen.cost, plan)), pair))
    for _, pair in sorted(queue):
        plan = _plan(chosen, sought, pair)  # others may have brought prompts of it by now
        if plan and chosen.fit_together(plan, most):
            for project in plan:
                chosen.add(project)
                sought.add(project)


def _plan(chosen: _Chosen, sought: _Sought, pair) -> list[str]:
    """Projects that bring both words of a pair their prompts; [] if there are none."""
    need = {word: sought.lacks(word) for word in pair}
    free = {project for word in pair if need[word] for project in sought.projects_of[word]} - chosen.projects
    cost = {project: max(chosen.cost(project), 1e-12) for project in free}
    plan = []
    while any(need.values()):

        def worth(project):
            return sum(min(sought.words[project].get(word, 0), need[word]) for word in pair) / cost[project], project

        best = max(free, key=worth, default=None)
        if best is None or not worth(best)[0]:
            return []
        free.discard(best)
        plan.append(best)
        for word in pair:
            need[word] = max(0, need[word] - sought.words[best].get(word, 0))
    return plan


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
    for project in sorted((project for project, languages in languages_of.items() if len(languages) > 1), key=order):
        taken[project] = min(languages_of[project], key=lambda language: given[language] / total[language])
        given[taken[project]] += training[taken[project]][project]
    return taken
