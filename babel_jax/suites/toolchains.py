"""The compilers and interpreters of the five languages: how a program is built, run, and seen to reach its last test.

The sentinel is a random word that a program prints on standard error when its tests have come to their end, so that a
program that ends itself before (`exit(0)`) is not taken for one that passed. PHP: a line behind the tests prints it. The
others: what calls the program's `main`, or its tests, was given it as an argument and prints it once they have returned.

Where there is a sentinel, the tests are also kept apart from the program as far as its language allows: it cannot swallow
them, switch them off, or give another meaning to the names in them. README.md beside this file says, attack by attack,
what is closed and what a program that is written to deceive can still do: above all, find the sentinel. It cannot guess
it, and it cannot print it by accident. Without a sentinel a program runs as it stands, as the peers run it.
"""

import dataclasses
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.languages import lexical
from babel_jax.languages.language import Language
from babel_jax.languages.lexical import blanked, code_and_end, identifiers, substituted
from babel_jax.languages.registry import LANGUAGES
from babel_jax.languages.registry import language as language_record
from babel_jax.suites.problems import Code
from babel_jax.suites.sandbox import PATH, Finished, Limits, Sandbox, Writable

SHIMS = Path(__file__).with_name("shims")
SEARCHED = f"{PATH}:/usr/local/bin:/usr/local/go/bin"
# What may decide a verdict in output of which the middle is left out; `judge.SIGNS` says what it means.
TELLING = (
    r"^.*(?:Error\b|Exception\b|EXCEPTION|Assertion `|out of memory|Out of memory|cannot allocate|could not allocate)"
    r"|^(?:Fail:|panic: |fatal error: |runtime: | *--- FAIL: |terminate called )|Allowed memory size"
)
SHOWN = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")  # of the root directory, by the sandbox
INSTALL = {
    "python": "apt-get install python3",
    "php": "apt-get install php-cli",
    "csharp": "apt-get install mono-mcs mono-runtime libmono-system-numerics4.0-cil",
    "go": "apt-get install golang-go",
    "cpp": "apt-get install g++",
}
INSTALL_NEED = {"boost": "apt-get install libboost-dev", "crypto": "apt-get install libssl-dev"}


@dataclasses.dataclass(frozen=True)
class Execution:
    """compiled: None where there is nothing to compile; ran: None where compilation failed; sentinel_seen: see above."""

    compiled: Finished | None
    ran: Finished | None
    sentinel_seen: bool


@dataclasses.dataclass(frozen=True)
class Conditions:
    """How a program is run. sentinel: see above; None runs it as it stands. repair_imports: Go only, see `repaired_imports`."""

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
    """One language's tools.

    Attributes:
      language: a key of LANGUAGES.
      version: of the compiler or interpreter, one line.
      fingerprint: hash of all that a verdict depends on: tools' versions, flags, what is added to programs.
      missing: those `needs` of `problems.Code` that are not installed here.
    """

    language: str
    missing: tuple[str, ...] = ()

    def __init__(self, version: str, tools: tuple[Path, ...], options=()):
        self.version = version
        self._found = tools
        self._tools: Path | None = None
        deciding = map(Path, (__file__, lexical.__file__))
        sources = [*deciding, *sorted(path for path in SHIMS.iterdir() if path.is_file())]
        marks = repr(dataclasses.replace(self.record, pairs={}))
        self.fingerprint = files.content_hash(
            [version, list(options), marks, [files.content_hash(s.read_bytes()) for s in sources]]
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
                made = Path(folder, "made")
                made.mkdir()
                self._make(made)
                try:
                    made.rename(place)
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
                raise UserError(f"{self.record.title} programs that need {need}: {INSTALL_NEED[need]}")
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

    def _require(self) -> None:
        for path in self._required:
            if not path.exists():
                raise FileNotFoundError(f"{self.record.title}: {path} is gone.")

    def _make(self, place: Path) -> None:
        """Makes in `place` what `prepare` promises."""

    def _refused(self, code: Code, apart: bool) -> str:
        """Why a text is not compiled, where the tools themselves would not say it; "" otherwise. `apart`: from its tests."""
        return _unfinished(code) if apart else ""

    def _recipe(self, code: Code, sentinel: str | None, repair_imports: bool) -> Recipe:
        raise NotImplementedError


def _joined(code: Code, *more: str) -> str:
    return "\n".join((code.body, "", code.tests, *more))  # a backslash at the body's end takes the empty line, no test


DIRECTIVE = r"(?m)^[ \t\f\v]*(?:#|%:)[ \t\f\v]*"


def _unfinished(code: Code) -> str:
    """Why the tests do not begin where the program has ended, "" if they do: what it leaves open could swallow them, or
    make something else of the first of them (PHP: `if (0)` in the last line)."""
    body, open_at_end = code_and_end(code.body + "\n\n", LANGUAGES[code.language], in_code=False)
    if open_at_end not in ("", "outside"):
        return f"the program ends inside of a {open_at_end}"
    if code.language in ("csharp", "cpp"):
        conditions = re.findall(rf"{DIRECTIVE}(if(?:n?def)?|endif)\b", body)
        if 2 * conditions.count("endif") != len(conditions):
            return "the program ends inside of an #if"
        body = re.sub(rf"{DIRECTIVE}.*", "", body)
    body = re.sub(r"<\?(?:php|=)?\s*\Z", "", body) if code.language == "php" else body
    last = "" if open_at_end else body.strip()[-1:]
    if code.language != "go" and last not in ("", ";", "{", "}"):
        return "the program ends inside of a statement"
    return ""


def _halves(sentinel: str) -> tuple[str, str]:
    """A message that quotes the program's last line must not hold the sentinel."""
    return sentinel[: len(sentinel) // 2], sentinel[len(sentinel) // 2 :]


def _tool(language: str, name: str) -> Path:
    """A tool where the sandbox shows it: what PATH has in a home folder, such as the shims of pyenv, it does not."""
    found = shutil.which(name, path=SEARCHED)
    if found is None:
        raise UserError(f"{LANGUAGES[language].title}: '{name}' is not installed below /usr; {INSTALL[language]}")
    return _shown(language, Path(found))


def _shown(language: str, place: Path) -> Path:
    """`place`, if programs can see what it points to."""
    if place.resolve().parts[1] not in SHOWN:
        raise UserError(
            f"{LANGUAGES[language].title}: {place} is {place.resolve()}, which programs in the sandbox do not see; "
            f"install it below /usr: {INSTALL[language]}"
        )
    return place


def _output(*command, language: str) -> str:
    """What a trusted tool prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={"PATH": SEARCHED})
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing was said"]
        raise UserError(f"{LANGUAGES[language].title}: {command[0]} fails ({said[0]}); {INSTALL[language]}")
    return done.stdout.strip()


class Python(Toolchain):
    """The system's interpreter without what is installed beside it (-S), so that verdicts do not depend on that."""

    language = "python"
    OPTIONS = ("-I", "-S", "-B")

    def __init__(self):
        self._python = _tool("python", "python3").resolve()
        super().__init__(_output(self._python, "--version", language="python"), (self._python,))

    def _make(self, place):
        script = "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2], 'launcher.py', doraise=True)"
        _output(
            self._python, *self.OPTIONS, "-c", script, SHIMS / "launcher.py", place / "launcher.pyc", language="python"
        )

    def _refused(self, code, apart):
        if "\0" in code.body + code.tests:  # until 3.11.4 it hid the rest of its line, and no error was said
            return "the program holds a NUL character, which Python refuses with a SyntaxError from 3.11.4 on"
        return ""

    def _recipe(self, code, sentinel, repair_imports):
        command, program = (str(self._python), *self.OPTIONS), "{code}/program.py"
        if sentinel is None:
            return Recipe({"program.py": _joined(code)}, (), (*command, program))
        body = code.body + "\n"
        run = (*command, "{tools}/launcher.pyc", program, str(len(body)), ",".join(code.declares), sentinel)
        return Recipe({"program.py": body + code.tests}, (), run)


class PHP(Toolchain):
    """-n: Debian's php.ini sets zend.assertions=-1, with which a failed assertion passes. Extensions that every
    distribution of PHP has switched on are loaded by name. Where there is a sentinel, the tests' assert() is a function of
    ours (shims/assert.php): PHP's own is without effect once a program has set zend.assertions or assert.exception to 0."""

    language = "php"
    ASSERT = r"(?i)(?<![\w$>:\\])(?<!\bfunction )\\?assert(?=\s*\()"

    def __init__(self):
        self._php = _tool("php", "php").resolve()
        self._options = ("-n", "-d", "zend.assertions=1")
        for name in ("ctype", "mbstring"):
            option = ("-d", f"extension={name}")
            if not self._loads(name) and self._loads(name, *option):
                self._options += option
        if _output(self._php, "-n", "-r", "echo ini_get('assert.exception');", language="php") != "1":  # before PHP 8
            self._options += ("-d", "assert.exception=1")
        version = _output(self._php, "-n", "--version", language="php").splitlines()[0]
        super().__init__(version, (self._php,), self._options)

    def _make(self, place):
        shutil.copyfile(SHIMS / "assert.php", place / "assert.php")

    def _refused(self, code, apart):
        """In a namespace of the program's its functions come before PHP's, and `use` renames for the whole file."""
        body = code_and_end(code.body, self.record, in_code=False)[0]
        spaces = set(re.findall(r"(?i)(?<![\w$>:])namespace\s+(\w+)", body)) - set(code.declares)
        imports = re.findall(r"(?i)(?<![\w$>:])use\s+((?:function|const)\b[^;{}(]*|[\w\\]+\s+as\s+\w+)", body)
        items = [re.sub(r"(?i)^(?:function|const)\b", "", item) for one in imports for item in one.split(",")]
        words = [re.findall(r"\w+", item.lower()) for item in items]  # names have no case, but constants
        used = {path[-1] for path in words if len(path) > 1} - set(map(str.lower, code.declares))
        renamed = {name for name in identifiers(code.tests, self.record) if name.lower() in used}
        if apart and (spaces or renamed):
            return f"the program would have the tests take {', '.join(sorted(spaces or renamed))} for what is its own"
        return super()._refused(code, apart)

    def _loads(self, extension: str, *options: str) -> bool:
        command = (self._php, "-n", "-d", "display_startup_errors=0", "-d", "log_errors=0", *options)
        return _output(*command, "-r", f"echo (int) extension_loaded('{extension}');", language="php") == "1"

    def _recipe(self, code, sentinel, repair_imports):
        end, command = (), (str(self._php), *self._options)
        if sentinel is not None:
            first, second = _halves(sentinel)
            tests = substituted(code.tests, self.record, self.ASSERT, r"\\babel_jax_assert")
            code, command = (
                dataclasses.replace(code, tests=tests),
                (*command, "-d", "auto_prepend_file={tools}/assert.php"),
            )
            end = (f'\\fwrite(\\STDERR, "\\n{first}" . "{second}\\n");\n',)
        return Recipe({"program.php": _joined(code, *end)}, (), (*command, "{code}/program.php"))


class CSharp(Toolchain):
    """mcs and mono. A failed Debug.Assert is printed on standard error and the program goes on; it then fails, but where
    there is no sentinel it is left to the judge what that means, as the peers have it.

    Most of the time goes into starting mcs. One that stays resident would save 90 of 210 ms a program, but all programs
    would then share one process and its limits.
    """

    language = "csharp"
    REFERENCES = {"compare_net_objects": "CompareNetObjects"}
    OPTIONS = ("-nologo", "-warn:0", "-codepage:utf8", "-d:DEBUG", "-r:System.Numerics.dll")

    def __init__(self):
        self._mono = _tool("csharp", "mono").resolve()
        library = _tool("csharp", "mcs").resolve().parents[1] / "lib" / "mono" / "4.5"
        self._mcs = library / "mcs.exe"
        for path in (self._mcs, library / "System.Numerics.dll"):
            if not path.is_file():
                raise UserError(f"C#: {path} is not installed; {INSTALL['csharp']}")
        version = _output(self._mono, self._mcs, "--version", language="csharp")
        runtime = _output(self._mono, "--version", language="csharp").splitlines()[0]
        super().__init__(version, (self._mono, self._mcs, library / "System.Numerics.dll"), (runtime,))

    def _make(self, place):
        compiler = (self._mono, self._mcs, *self.OPTIONS)
        library = f"-out:{place}/CompareNetObjects.dll"
        _output(*compiler, "-target:library", library, SHIMS / "CompareNetObjects.cs", language="csharp")
        _output(*compiler, f"-out:{place}/Launcher.exe", SHIMS / "Launcher.cs", language="csharp")

    def _recipe(self, code, sentinel, repair_imports):
        references = [f"-r:{{tools}}/{self.REFERENCES[need]}.dll" for need in code.needs]
        compiler = (str(self._mono), str(self._mcs), *self.OPTIONS, *references)
        program = "{build}/program.exe"
        run = (program,) if sentinel is None else ("{tools}/Launcher.exe", program, sentinel, *self._meant(code))
        trace = "Console.Error" if sentinel is None else "{tmp}/failed_assertions"
        environment = {"MONO_PATH": "{tools}", "MONO_TRACE_LISTENER": trace}
        return Recipe(
            {"program.cs": _joined(code)},
            (*compiler, f"-out:{program}", "{code}/program.cs"),
            (str(self._mono), *run),
            environment,
        )

    def _refused(self, code, apart):
        if apart and re.search(rf"{DIRECTIVE}undef\s+DEBUG\b", code_and_end(code.body, self.record)[0]):
            return "the program takes away DEBUG, and with it every Debug.Assert of the tests"
        return super()._refused(code, apart)

    @staticmethod
    def _meant(code: Code) -> tuple[str, str]:
        """(names in the tests that must mean the library's, names that the program gives to what may be anything)."""
        tests, body = code_and_end(code.tests, LANGUAGES["csharp"])[0], code_and_end(code.body, LANGUAGES["csharp"])[0]
        names = re.findall(r"([^\W\d]\w*)(?=(\s*<)?)", tests)
        meant = {name + ("`" if generic else "") for name, generic in names if name not in code.declares}
        aliases = re.findall(r"\busing\s+@?(\w+)\s*=", body)
        return ",".join(sorted(meant)), ",".join(aliases)


GO_MAIN = """package main

import (
	sentinel_os "os"
	sentinel_syscall "syscall"
)

func main() {
	sentinel := "\\n" + sentinel_os.Args[1] + "\\n"
	sentinel_os.Args = sentinel_os.Args[:1]
	main_of_the_tests()
	sentinel_syscall.Write(2, []byte(sentinel))
}
"""
# The program's `init` has run when this begins, and may have set the flags by which the package testing chooses and lists
# tests. They are reset; and whatever it has done to them, the sentinel needs every test to have ended, without a choice.
GO_TEST = """package main

import (
	candidate "candidate"
	"flag"
	"os"
	"syscall"
	"testing"
	"testing/internal/testdeps"
)

var tests = []testing.InternalTest{%s}
var ended = map[string]bool{}
var chosen bool

type dependencies struct{ testdeps.TestDeps }

// MatchString is called where a flag chooses among tests.
func (dependencies) MatchString(pattern, name string) (bool, error) {
	chosen = true
	return true, nil
}

func main() {
	sentinel := os.Args[1:]
	os.Args = []string{os.Args[0], "-test.paniconexit0"} // as go test does
	if len(sentinel) == 0 {
		os.Exit(testing.MainStart(testdeps.TestDeps{}, tests, nil, nil, nil).Run())
	}
	testing.Init()
	flag.VisitAll(func(f *flag.Flag) { f.Value.Set(f.DefValue) })
	counted := []testing.InternalTest{}
	for _, test := range tests {
		name, run := test.Name, test.F
		counted = append(counted, testing.InternalTest{Name: name, F: func(t *testing.T) {
			defer func() { ended[name] = !t.Skipped() }()
			run(t)
		}})
	}
	status := testing.MainStart(dependencies{}, counted, nil, nil, nil).Run()
	for _, test := range tests {
		chosen = chosen || !ended[test.Name]
	}
	if !chosen {
		syscall.Write(2, []byte("\\n" + sentinel[0] + "\\n"))
	}
	os.Exit(status)
}
"""
# What Go's specification declares before a program, but for what programs of older Go define themselves (min, max, clear).
GO_PREDECLARED = {
    "any", "bool", "byte", "comparable", "complex64", "complex128", "error", "float32", "float64", "int", "int8", "int16",
    "int32", "int64", "rune", "string", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr", "true", "false", "iota",
    "nil", "append", "cap", "close", "complex", "copy", "delete", "imag", "len", "make", "new", "panic", "print", "println",
    "real", "recover",
}  # fmt: skip


class Go(Toolchain):
    """The compiler and the linker called by themselves, with archives of the standard library made once: no build
    cache is needed. Neither `go vet` (which `go test` runs before) nor modules are in it."""

    language = "go"

    def __init__(self):
        go = _tool("go", "go").resolve()
        ask = functools.partial(_output, language="go")
        self._go = go
        self._root, tools = (Path(line) for line in ask(go, "env", "GOROOT", "GOTOOLDIR").splitlines())
        self._compiler, self._linker = (_shown("go", tools / name) for name in ("compile", "link"))
        super().__init__(ask(go, "version"), (go, self._compiler, self._linker))

    def _make(self, place):
        """Archives of the standard library as IMPORT_PATH.a, but for those that this Go has in GOROOT, and testify."""
        packages = place / "packages"
        with tempfile.TemporaryDirectory() as home:
            environment = {"PATH": SEARCHED, "HOME": home, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
            command = (self._go, "list", "-export", "-f", "{{.ImportPath}} {{.Export}}", "std")
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)
            if done.returncode != 0:
                raise UserError(
                    f"Go: the standard library does not compile: {done.stderr.strip()[:200]!r}; {INSTALL['go']}"
                )
            for line in done.stdout.splitlines():
                package, _, archive = line.partition(" ")
                if archive and self._root not in Path(archive).parents:
                    target = packages / f"{package}.a"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(archive, target)
        target = packages / "github.com/stretchr/testify/assert.a"
        target.parent.mkdir(parents=True, exist_ok=True)
        _output(self._compiler, "-p", "github.com/stretchr/testify/assert", "-complete", "-I", packages, "-o", target,
                SHIMS / "assert.go", language="go")  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "shadows.a")
            _output(self._compiler, "-p", "main", "-complete", "-I", packages, "-o", archive, SHIMS / "shadows.go",
                    language="go")  # fmt: skip
            _output(self._linker, "-s", "-w", "-L", packages, "-o", place / "shadows", archive, language="go")

    def _refused(self, code, apart):
        if apart and re.search(r"(?m)^//go:linkname\b", code.body):
            return "the program gives its functions the names of others (go:linkname)"
        return super()._refused(code, apart)

    def _recipe(self, code, sentinel, repair_imports):
        tests = code.tests
        runner = ""
        if code.harness == "go_test":
            names = re.findall(r"^func (Test(?![a-z])\w*)\(\s*\w+\s+\*testing\.T\s*\)", tests, re.MULTILINE)
            if not names:
                raise UserError("the tests of a Go program hold no function TestName(t *testing.T); mend the suite.")
            runner = GO_TEST % ", ".join(f'{{Name: "{name}", F: candidate.{name}}}' for name in names)
        elif sentinel is not None:
            tests, found = re.subn(r"^func\s+main\s*\(\s*\)", "func main_of_the_tests()", tests, flags=re.MULTILINE)
            if not found:
                raise UserError("the tests of a Go program hold no func main(); mend the suite.")
            runner = GO_MAIN
        program = _joined(dataclasses.replace(code, tests=tests))
        if repair_imports:
            program = repaired_imports(program)
        sources = {"program.go": program} | ({"runner.go": runner} if runner else {})
        steps = []
        packages = (
            set(re.findall(r"(?<![\w.])(\w+)\.[A-Z]", code_and_end(code.tests, self.record)[0])) & GO_PACKAGES.keys()
        )
        kept = sorted((GO_PREDECLARED & identifiers(code.tests, self.record) | packages) - set(code.declares))
        if kept and sentinel is not None:
            steps.append(f'"{{tools}}/shadows" "{{code}}/program.go" {" ".join(kept)} >&2')
        compile = f'"{self._compiler}" -complete -I "{{tools}}/packages" -I "{{build}}"'
        if code.harness == "go_test":
            steps += [
                f'{compile} -p candidate -o "{{build}}/candidate.a" "{{code}}/program.go"',
                f'{compile} -p main -o "{{build}}/program.a" "{{code}}/runner.go"',
            ]
        else:
            steps += [f'{compile} -p main -o "{{build}}/program.a" "{{code}}/"*.go']
        libraries = '-L "{tools}/packages" -L "{build}"'
        steps.append(f'"{self._linker}" -s -w {libraries} -o "{{build}}/program" "{{build}}/program.a"')
        run = ("{build}/program",) + (() if sentinel is None else (sentinel,))
        # else Go begins a thread for each of the machine's processors, and Limits counts threads
        environment = {"GOROOT": str(self._root), "GOMAXPROCS": "2"}
        return Recipe(sources, ("/bin/sh", "-c", " && ".join(steps)), run, environment)


CPP_LIBRARIES = ("libstdc++.so.6", "libc.so.6", "libm.so.6", "libgcc_s.so.1")
# A function that the tests define: from the beginning of a line to its body.
CPP_FUNCTION = re.compile(
    r"^[A-Za-z_][^;{}()=]*[\s&*>](?!(?:main|if|for|while|switch|catch)\b)(\w+)\s*\([^()]*\)\s*\{", re.MULTILINE
)
CPP_CHECKED = """"$@" || exit
nm -C --defined-only "{build}/program" > "{build}/symbols" &&
awk -f "{tools}/symbols.awk" "{tools}/library_functions" "{build}/symbols\""""

# Headers of the C++ standard: they may be included in any order (C++17, 20.5.2.2).
CPP_HEADERS = (
    "algorithm any array atomic bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits clocale cmath "
    "codecvt complex condition_variable csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar "
    "cwctype deque exception execution filesystem forward_list fstream functional future initializer_list iomanip ios "
    "iosfwd iostream istream iterator limits list locale map memory memory_resource mutex new numeric optional ostream "
    "queue random ratio regex scoped_allocator set shared_mutex sstream stack stdexcept streambuf string string_view "
    "strstream system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray "
    r"variant vector (?:assert|ctype|errno|fenv|float|inttypes|limits|locale|math|setjmp|signal|stdarg|stddef|stdint|stdio|"
    r"stdlib|string|time|uchar|wchar|wctype)\.h"
).replace(" ", "|")
CPP_INCLUDE = r"#[ \t]*include[ \t]*"
CPP_BEFORE_CODE = re.compile(rf"\s+|//[^\n]*|/\*.*?\*/|{CPP_INCLUDE}<(?:{CPP_HEADERS})>", re.DOTALL)
CPP_ALL_HEADERS = re.compile(rf"{CPP_INCLUDE}<bits/stdc\+\+\.h>")


def includes_all_headers_first(program: str) -> bool:
    """Whether nothing but standard headers and comments stands before a C++ program's <bits/stdc++.h>."""
    end = 0
    while passed := CPP_BEFORE_CODE.match(program, end):
        end = passed.end()
    return CPP_ALL_HEADERS.match(program, end) is not None


class Cpp(Toolchain):
    """g++ without optimisation: compiling takes longer than running.

    A precompiled <bits/stdc++.h> makes compiling three times as fast. It is put in front of a program that includes this
    header itself and has nothing but standard headers and comments before it; to all others it would lend headers that
    they lack, or hide macros from it that they define.
    """

    language = "cpp"
    OPTIONS = ("-std=c++17", "-O0", "-w")

    def __init__(self):
        self._compiler = _tool("cpp", "g++")
        version = _output(self._compiler, "--version", language="cpp").splitlines()[0]
        inner = Path(_output(self._compiler, "-print-prog-name=cc1plus", language="cpp"))
        headers = {"boost": "boost/any.hpp", "crypto": "openssl/md5.h"}
        self.missing = tuple(need for need, header in headers.items() if not self._has(header))
        super().__init__(version, (self._compiler, inner), (self.OPTIONS, self.missing))

    def _has(self, header: str) -> bool:
        command = (str(self._compiler), "-fsyntax-only", "-x", "c++", "-")
        source = f"#if !__has_include(<{header}>)\n#error\n#endif\n"
        return subprocess.run(command, input=source, capture_output=True, text=True).returncode == 0

    def _make(self, place):
        header = place / "headers" / "bits" / "stdc++.h"
        header.parent.mkdir(parents=True)
        # The compiler reads this where the precompiled one does not fit, and where a program includes it once more.
        header.write_text("#include_next <bits/stdc++.h>\n")
        compiler = (self._compiler, *self.OPTIONS)
        _output(*compiler, "-x", "c++-header", "-o", f"{header}.gch", header, language="cpp")
        _output(*compiler, "-c", "-o", place / "sentinel.o", SHIMS / "sentinel.cpp", language="cpp")
        shutil.copyfile(SHIMS / "symbols.awk", place / "symbols.awk")
        libraries = [_output(self._compiler, f"-print-file-name={name}", language="cpp") for name in CPP_LIBRARIES]
        symbols = _output("nm", "-D", "--defined-only", *libraries, language="cpp")
        names = sorted(set(re.findall(r"^[0-9a-f]+ [TWi] ((?!_Z)\w+)", symbols, re.MULTILINE)))
        (place / "library_functions").write_text("\n".join(names) + "\n")
        macros = _output(*compiler, "-x", "c++", "-dM", "-E", "-include", "bits/stdc++.h", "/dev/null", language="cpp")
        (place / "library_macros").write_text("\n".join(re.findall(r"^#define (\w+)", macros, re.MULTILINE)))

    def _recipe(self, code, sentinel, repair_imports):
        program = _joined(code if sentinel is None else self._apart(code))
        command = [str(self._compiler), *self.OPTIONS]
        if includes_all_headers_first(program):
            command += ["-I", "{tools}/headers", "-include", "bits/stdc++.h"]
        command += ["-o", "{build}/program", "{code}/program.cpp"]
        if sentinel is not None:
            command += ["{tools}/sentinel.o", "-Wl,--wrap=main"]
        if "crypto" in code.needs:
            command.append("-lcrypto")
        run = ("{build}/program",) + (() if sentinel is None else (sentinel,))
        checked = () if sentinel is None else ("/bin/sh", "-c", CPP_CHECKED, "sh")
        return Recipe({"program.cpp": program}, (*checked, *command), run)

    def _apart(self, code: Code) -> Code:
        """The tests without the program's macros, and with functions of their own where both define one of a name."""
        body, _ = code_and_end(code.body, self.record)
        defined = set(re.findall(rf"{DIRECTIVE}define\s+(\w+)", body)) - set(code.declares)
        library = set((self._tools / "library_macros").read_text().splitlines())
        here = identifiers(code.tests, self.record)
        undone = {name for name in defined if name.startswith("_") or name in here - library}
        head = [f"#undef {name}\n" for name in sorted(undone)]
        undefined = set(re.findall(rf"{DIRECTIVE}undef\s+(\w+)", body))
        if {"NDEBUG", "assert"} & (defined | undefined) and "assert" in here:
            head.append("#undef NDEBUG\n#include <assert.h>\n")
        tests = code.tests
        own_functions = set(CPP_FUNCTION.findall(code_and_end(tests, self.record)[0]))
        both = own_functions & identifiers(code.body, self.record) - set(code.declares)
        own = hashlib.sha256((code.body + tests).encode()).hexdigest()[:16]  # no program can hold its own hash
        for name in sorted(both):
            tests = substituted(tests, self.record, rf"(?<![\w.>:]){name}\b", f"{name}_{own}")
        return dataclasses.replace(code, tests="".join(head) + tests)


TOOLCHAINS: dict[str, Callable[[], Toolchain]] = {kind.language: kind for kind in (Python, PHP, CSharp, Go, Cpp)}


def find(language: str) -> Toolchain:
    """The toolchain of a language; `UserError` names the line that installs what is missing, or the nearest language."""
    language_record(language)
    return TOOLCHAINS[language]()


# Packages that an import is added for, by the name they are used under; where two have one name, the commoner.
GO_PACKAGES = {
    package.rsplit("/", 1)[-1]: package
    for package in (
        "bufio", "bytes", "cmp", "container/heap", "container/list", "container/ring", "context", "crypto/md5",
        "crypto/sha1", "crypto/sha256", "crypto/sha512", "encoding/base64", "encoding/binary", "encoding/hex",
        "encoding/json", "errors", "fmt", "hash/crc32", "hash/fnv", "io", "maps", "math", "math/big", "math/bits",
        "math/cmplx", "math/rand", "os", "reflect", "regexp", "runtime", "slices", "sort", "strconv", "strings",
        "sync", "sync/atomic", "text/tabwriter", "time", "unicode", "unicode/utf16", "unicode/utf8", "unsafe",
    )
}  # fmt: skip
GO_SPEC = r"""(?:([\w.]+)\s*)?["`]([^"`]+)["`]"""
GO_IMPORT = re.compile(rf"[\s;]*\bimport\b\s*(?:\([^)]*\)|{GO_SPEC})")


def repaired_imports(program: str) -> str:
    """A Go program with the imports that it uses: unused and double ones go, missing ones of GO_PACKAGES come.

    Go refuses an import that is not used, so a prompt that imports what neither tests nor completion use cannot pass,
    and a completion behind a prompt cannot import. A package counts as used where its name stands before a dot and an
    upper-case letter outside of strings and comments, and is added only if its name stands nowhere else: then it may be
    a variable's. What does not begin like a Go program is left as it is.
    """

    text = blanked(program, LANGUAGES["go"], ("comment",))
    package = re.match(r"\s*package\s+\w+", text)
    if package is None:
        return program
    end, specs = package.end(), []
    while declaration := GO_IMPORT.match(text, end):
        specs += re.findall(rf"(?<![\w.]){GO_SPEC}", declaration[0].split("import", 1)[1])
        end = declaration.end()
    code = blanked(program[end:], LANGUAGES["go"], ("comment", "string"))
    members = set(re.findall(r"(?<![\w.])(\w+)\s*\.\s*[A-Z]", code))
    names = {spec: spec[0] or re.sub(r"/v\d+$", "", spec[1]).rsplit("/", 1)[-1] for spec in specs}
    kept = [spec for spec, name in names.items() if name in ("_", ".") or name in members]
    for name in sorted(members & GO_PACKAGES.keys() - {names[spec] for spec in kept}):
        if not re.search(rf"(?<![\w.]){name}\b(?!\s*\.\s*[A-Z])", code):
            kept.append(("", GO_PACKAGES[name]))
    if kept == specs:
        return program
    block = "".join(f'\t{alias} "{path}"\n' if alias else f'\t"{path}"\n' for alias, path in kept)
    return program[: package.end()] + (f"\n\nimport (\n{block})\n" if kept else "\n") + program[end:].lstrip("; \t")
