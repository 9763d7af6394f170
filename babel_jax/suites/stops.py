"""Where a completion ends: at the first stop sequence, or where the function ends that the prompt began.

A model goes on after its function; what follows is cut off before the program is judged. Marks in strings and comments
do not count: "}" in a literal closes nothing.
"""

import copy
import functools
import re
from collections import deque
from collections.abc import Sequence

from babel_jax.languages.lexical import Scanner, begun, either
from babel_jax.languages.registry import language


def cut(language: str, prompt: str, completion: str, stops: Sequence[str], block: bool) -> tuple[str, str]:
    """(what of a completion is kept, why it ended there: "stop", "block", or "" where neither was seen).

    Args:
      language: a key of LANGUAGES.
      prompt: what stands before the completion: a string or a function may have begun there.
      stops: the completion ends before the first of these that begins outside of strings and comments. One that begins
        where a string or comment does counts; so does one that begins with the line break that ends a comment.
      block: the completion is the rest of one function. Python: it ends before the first line at column 0, of code or
        comment, that begins outside of brackets and strings. Other languages: it ends behind the brace that closes the
        innermost brace open at the prompt's end, or, where none is open, the first one that the completion opens.

    Whichever comes first counts. `Stopper` does the same while the completion is being written.
    """
    stopper = Stopper(language, prompt, stops, block)
    stopper.feed(completion)
    return stopper.cut()


class Stopper:
    """Finds the end of a completion that comes in pieces, however they are cut; the arguments are those of `cut`.

    Every character is looked at a bounded number of times.
    """

    def __init__(self, language_name: str, prompt: str, stops: Sequence[str], block: bool):
        record = language(language_name)
        self._begin = len(prompt)
        self._by_line = record.name == "python"
        # A prompt that never opens PHP is code whose opening mark stands in the program's prefix.
        self._scanner = Scanner(record, in_code=bool(record.code_marks) and record.code_marks[0] not in prompt)
        self._scanner.text = prompt
        self._stops, self._block = tuple(stops), block
        self._spans = deque()  # found by the scanner, not yet passed
        self._code = 0  # where the last passed span ended
        self._at = 0  # everything before is dealt with
        self._depth, self._closes = 0, None  # of brackets; the depth behind the function's closing brace
        self._end = None

    def feed(self, text: str) -> bool:
        """Adds a piece; true once the end is certain, whatever may follow."""
        if self._end is None:
            self._scanner.text += text
            self._look(final=False)
        return self._end is not None

    def cut(self) -> tuple[str, str]:
        """What `cut` says of the completion so far, as if it ended here."""
        stopper = self
        if self._end is None:
            stopper = copy.copy(self)
            stopper._scanner, stopper._spans = self._scanner.copy(), deque(self._spans)
            stopper._look(final=True)
        text = stopper._scanner.text
        end, why = stopper._end or (len(text), "")
        return text[self._begin : end], why

    def _look(self, final):
        """Goes through the marks in code, in order, as far as the scanner is certain."""
        scanner = self._scanner
        self._spans.extend(scanner.scan(final))
        # Where a span is open, its first character may still begin a stop.
        certain = scanner.at if scanner.start is None else scanner.start + 1
        while self._end is None and self._at < certain:
            in_prompt = self._at < self._begin
            border = min(certain, self._begin) if in_prompt else certain
            if not in_prompt and self._closes is None:
                self._closes = max(self._depth - 1, 0)
            marks = _marks(() if in_prompt else self._stops, self._block, self._by_line)
            match = marks[final].search(scanner.text, self._at)
            place = min(match.start(), border) if match else border
            while self._spans and self._spans[0].end <= place:
                self._code = self._spans.popleft().end
            first = self._spans[0].start if self._spans else scanner.start
            if place == border:
                self._at = border
            elif first is not None and (first < place or (first == place and match.lastgroup not in ("stop", "wait"))):
                self._at = self._spans[0].end if self._spans else border
            elif match.lastgroup == "wait" or not self._mark(match.lastgroup, place, final):
                self._at = place
                break
            else:
                self._at = place + 1

    def _mark(self, mark, place, final) -> bool:
        """What a mark in code means; false if only what follows can decide."""
        text = self._scanner.text
        if mark == "stop":
            self._end = place, "stop"
        elif mark == "open":
            self._depth += 1
        elif mark == "close":
            self._depth = max(self._depth - 1, 0)
            if not self._by_line and place >= self._begin and self._depth <= self._closes:
                self._end = place + 1, "block"
        elif place + 1 == len(text):
            return final
        elif place + 1 >= self._begin and not self._depth and text[place + 1] not in " \t\r\n\f":
            # A backslash before the line break joins the lines, if it is code and not the end of a comment.
            before = text[max(self._code, place - 2) : place].removesuffix("\r")
            if not before.endswith("\\"):
                self._end = place + 1, "block"
        return True


@functools.cache
def _marks(stops: tuple[str, ...], block: bool, by_line: bool) -> tuple[re.Pattern, re.Pattern]:
    """Patterns of what may matter in code: (while more may follow, at the end)."""
    if "" in stops:
        raise ValueError("an empty stop sequence would end every completion where it begins")
    parts = [f"(?P<stop>(?={either(map(re.escape, stops))}))"]
    if block:
        parts += [r"(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<newline>\n)" if by_line else r"(?P<open>\{)|(?P<close>\})"]
    waits = f"(?P<wait>(?={either(map(begun, stops))}))"
    return re.compile("|".join([parts[0], waits, *parts[1:]])), re.compile("|".join(parts))
