"""What every toolchain does: how a program is built, run, and seen to reach its last test.

The sentinel is a random word that a program prints on standard error when its tests have come to their end, so that a
program that ends itself before (`exit(0)`) is not taken for one that passed. PHP: a line behind the tests prints it. The
others: what calls the program's `main`, or its tests, receives it as an argument and prints it once they have returned.

Where there is a sentinel, the tests are also kept apart from the program as far as its language allows: it cannot swallow
them, switch them off, or give another meaning to the names in them. README.md says, attack by attack, what is closed and
what a program that is written to deceive can still do: above all, find the sentinel. It cannot guess it, and it cannot
print it by accident. Without a sentinel a program runs as it stands, as the peers run it.
"""

import dataclasses
import functools
import inspect
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.languages import lexical
from babel_jax.languages.language import Language
from babel_jax.languages.lexical import code_and_end
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites.sandbox import PATH, Finished, Limits, Sandbox, Writable

SHIMS = Path(__file__).with_name("shims")
SEARCHED = f"{PATH}:/usr/local/bin:/usr/local/go/bin"
# What may decide a verdict in output of which the middle is left out; `Toolchain.signs` says what it means.
TELLING = (
    r"^.*(?:Error\b|Exception\b|EXCEPTION|Assertion `|out of memory|Out of memory|cannot allocate|could not allocate)"
    r"|^(?:Fail:|panic: |fatal error: |runtime: | *--- FAIL: |terminate called )|Allowed memory size"
)
SHOWN = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")  # of the root directory, by the sandbox


@dataclasses.dataclass(frozen=True)
class Code:
    """A program to judge.

    body: all that stands before the tests: prefix, prompt, completion, and a line break.
    harness: "main": the tests run by themselves when the program starts; "go_test": they are Test… functions of Go's
      package testing.
    needs: what the program uses beyond the standard library, of `problems.NEEDS`.
    declares: names that the suite expects the program to define: its entry point, and what the prompt declares. Other names
      mean in the tests what the language says.
    """

    language: str
    body: str
    tests: str
    harness: str = "main"
    needs: tuple[str, ...] = ()
    declares: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Execution:
    """compiled: None where there is nothing to compile; ran: None where compilation failed; sentinel_seen: see above."""

    compiled: Finished | None
    ran: Finished | None
    sentinel_seen: bool


@dataclasses.dataclass(frozen=True)
class Conditions:
    """How a program is run. sentinel: see above; None runs it as it stands. repair_imports: see `Toolchain`."""

    sentinel: str | None
    compile_limits: Limits
    run_limits: Limits
    repair_imports: bool = False


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What becomes of one program. In commands {code} is where `sources` lie, {build} where the compiler may write,
    {tools} what `prepare` made. compile: () where there is nothing to compile."""

    sources: dict[str, str]
    compile: tuple[str, ...]
    run: tuple[str, ...]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


class Toolchain:
    """One language's tools; a class a language says what its are.

    Attributes:
      language: a key of LANGUAGES.
      install: the line that installs the tools.
      installs: those `needs` of `Code` that its tools may lack -> the line that installs them.
      declaring: words behind which a prompt declares a name, as alternatives of a pattern.
      control: a correct program, which says "return 1", and its tests. It is run after others failed: if it fails, that says
        nothing about them.
      endless: a statement that never ends.
      signs: (outcome, pattern) of what a program says that ends badly, see `outcomes.classify`.
      assertions_go_on: a failed assertion is printed, and the program goes on and ends with status 0.
      repairs_imports: the imports of a program can be made those that it uses.
      opening: a pattern of what opens code in other text.
      statement_ends: a whole program ends in one of these, or in nothing but comments; () where any character may stand last.
      has_directives: lines of its programs may be #if, #define, …
      version: of the compiler or interpreter, one line.
      fingerprint: hash of all that a verdict depends on: tools' versions, flags, what is added to programs.
      missing: what of `installs` is not installed here.
    """

    language: str
    install: str
    installs: Mapping[str, str] = {}
    declaring: str
    control: tuple[str, str]
    endless = "while (true) {}"
    signs: tuple[tuple[str, str], ...] = ()
    assertions_go_on = False
    repairs_imports = False
    opening = ""
    statement_ends: tuple[str, ...] = (";", "{", "}")
    has_directives = False
    missing: tuple[str, ...] = ()

    def __init__(self, version: str, tools: tuple[Path, ...], options=()):
        self.version = version
        self._found = tools
        self._tools: Path | None = None
        deciding = map(Path, (__file__, inspect.getfile(type(self)), lexical.__file__))
        sources = [*deciding, *sorted(path for path in SHIMS.iterdir() if path.is_file())]
        marks = repr(dataclasses.replace(self.record, pairs={}))
        self.fingerprint = files.content_hash(
            [version, list(options), marks, [files.content_hash(source.read_bytes()) for source in sources]]
        )

    @property
    def record(self) -> Language:
        return LANGUAGES[self.language]

    def prepare(self, cache) -> None:
        """Makes, once, what programs of this language are compiled with, in a folder of `cache` (a local directory).

        All of it is the project's own or the system's, so it is made outside of the sandbox.
        Two processes may do it at the same time: the folder appears whole or not at all, and the first one counts.
        """
        place = Path(cache).absolute() / f"{self.language}-{self.fingerprint}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
                whole = Path(folder, "whole")
                whole.mkdir()
                self._make(whole)
                try:
                    whole.rename(place)
                except OSError:
                    if not place.is_dir():
                        raise
        self._tools = place
        self._required = (*self._found, *sorted(path for path in place.rglob("*") if path.is_file()))

    def execute(self, sandbox: Sandbox, code: Code, conditions: Conditions, slot: int = 0) -> Execution:
        """Compiles and runs one program, each in a sandbox of its own; call `prepare` first.

        Raises:
          UserError: the program needs what is not installed (`missing`), or its tests cannot be run by this harness.
          FileNotFoundError: a tool that was found, or a file that was prepared, is gone: no verdict on the program.
          SandboxError: the sandbox failed.
        """
        if self._tools is None:
            raise RuntimeError("call prepare() before execute().")
        for need in code.needs:
            if need in self.missing:
                raise UserError(f"{self.record.title} programs that need {need}: {self.installs[need]}")
        sentinel = conditions.sentinel
        refused = self._refused(code, apart=sentinel is not None)
        if refused:
            return Execution(Finished(1, "itself", b"", f"error: {refused}".encode(), 0.0, 0.0), None, False)
        recipe = self._recipe(code, sentinel, conditions.repair_imports)
        with sandbox.folder("program_") as folder:
            places = {name: folder / name for name in ("code", "build")}
            for place in (folder, *places.values()):
                place.mkdir(exist_ok=True)
                place.chmod(0o755)  # the sandbox may read it as another user
            for name, text in recipe.sources.items():
                (places["code"] / name).write_bytes(text.encode())
            places["tools"] = self._tools
            telling = (TELLING, *filter(None, [sentinel]))  # apart: much of the one takes no place from the other
            run = functools.partial(sandbox.run, environment=recipe.environment, slot=slot, watch_for=telling)
            compiled = None
            if recipe.compile:
                writing = places | {"build": Writable(places["build"])}
                compiled = run(recipe.compile, limits=conditions.compile_limits, directories=writing)
                if compiled.status != 0 or compiled.ended_by != "itself":
                    self._require()
                    return Execution(compiled, None, False)
            else:
                del places["build"]
            ran = run(recipe.run, limits=conditions.run_limits, directories=places)
            if ran.status != 0:
                self._require()
            return Execution(compiled, ran, sentinel is not None and sentinel.encode() in ran.stderr)

    @classmethod
    def body(cls, prefix: str, program: str, tests: str) -> str:
        """What stands before the tests, of what stands before the prompt, and prompt and completion."""
        return prefix + program

    def _require(self) -> None:
        for path in self._required:
            if not path.exists():
                raise FileNotFoundError(f"{self.record.title}: {path} is gone.")

    def _make(self, place: Path) -> None:
        """Makes in `place` what `prepare` promises."""

    def _refused(self, code: Code, apart: bool) -> str:
        """Why a text is not compiled, where the tools themselves would not say it; "" otherwise. `apart`: from its tests."""
        return self._unfinished(code) if apart else ""

    def _unfinished(self, code: Code) -> str:
        """Why the tests do not begin where the program has ended, "" if they do: what it leaves open could swallow them, or
        make something else of the first of them (PHP: `if (0)` in the last line)."""
        body, open_at_end = code_and_end(code.body + "\n\n", self.record, in_code=False)
        if open_at_end not in ("", "outside"):
            return f"the program ends inside of a {open_at_end}"
        if self.has_directives:
            conditions = re.findall(rf"{DIRECTIVE}(if(?:n?def)?|endif)\b", body)
            if 2 * conditions.count("endif") != len(conditions):
                return "the program ends inside of an #if"
            body = re.sub(rf"{DIRECTIVE}.*", "", body)
        if self.opening:
            body = re.sub(rf"{self.opening}\s*\Z", "", body)
        last = "" if open_at_end else body.strip()[-1:]
        if self.statement_ends and last not in ("", *self.statement_ends):
            return "the program ends inside of a statement"
        return ""

    def _recipe(self, code: Code, sentinel: str | None, repair_imports: bool) -> Recipe:
        raise NotImplementedError

    def _tool(self, name: str) -> Path:
        """A tool where the sandbox shows it: what PATH has in a home folder, such as the shims of pyenv, it does not."""
        path = shutil.which(name, path=SEARCHED)
        if path is None:
            raise UserError(f"{self.record.title}: '{name}' is not installed below /usr; {self.install}")
        return self._shown(Path(path))

    def _shown(self, place: Path) -> Path:
        """`place`, if programs can see what it points to."""
        if place.resolve().parts[1] not in SHOWN:
            raise UserError(
                f"{self.record.title}: {place} is {place.resolve()}, which programs in the sandbox do not see; "
                f"install it below /usr: {self.install}"
            )
        return place

    def _output(self, *command) -> str:
        """What a trusted tool prints."""
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={"PATH": SEARCHED})
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["without a message"]
            raise UserError(f"{self.record.title}: {command[0]} fails ({lines[0]}); {self.install}")
        return done.stdout.strip()


def joined(code: Code, *more: str) -> str:
    """The text of a program with its tests, and more lines behind them."""
    return "\n".join((code.body, "", code.tests, *more))  # a backslash at the body's end takes the empty line, no test


DIRECTIVE = r"(?m)^[ \t\f\v]*(?:#|%:)[ \t\f\v]*"
