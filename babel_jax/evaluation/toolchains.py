"""The compilers and interpreters of the five languages: how a program is built, run, and seen to reach its last test.

The sentinel is a random word that a program prints on standard error when its tests have come to their end, so that a
program that ends itself before (`exit(0)`) is not taken for one that passed. Python and PHP: a line behind the tests
prints it. C#, Go, C++: what calls the program's `main` was given it as an argument, takes the argument away, and prints
it once `main` has returned. A program that is written to deceive could still find it: in its own file (Python, PHP), in
its own memory or in the command line of the process around it; and in C++ it could rename the tests by macros. It cannot
guess the sentinel, and it cannot print it by accident.
"""

import dataclasses
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from babel_jax import files
from babel_jax.errors import UserError
from babel_jax.evaluation.problems import Code
from babel_jax.evaluation.sandbox import PATH, Finished, Limits, Sandbox, temporary_folder
from babel_jax.languages import LANGUAGES
from babel_jax.languages import language as language_record
from babel_jax.lexical import not_code

SHIMS = Path(__file__).with_name("shims")
SEARCHED = f"{PATH}:/usr/local/bin:/usr/local/go/bin"
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
        sources = [Path(__file__), *sorted(SHIMS.iterdir())]
        self.fingerprint = files.content_hash(
            [version, list(options), [files.content_hash(s.read_bytes()) for s in sources]]
        )

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

    def execute(
        self,
        sandbox: Sandbox,
        code: Code,
        *,
        sentinel: str | None,
        compile_limits: Limits,
        run_limits: Limits,
        slot: int = 0,
        repair_imports: bool = False,
    ) -> Execution:
        """Compiles and runs one program, each in a sandbox of its own; call `prepare` first.

        Args:
          sentinel: see the module; None runs the program as it stands.
          repair_imports: Go only, see `repaired_imports`.

        Raises:
          UserError: the program needs what is not installed (`missing`), or its tests cannot be run by this harness.
          FileNotFoundError: a tool that was found, or a file that was prepared, is gone: no verdict on the program.
          SandboxError: the sandbox failed.
        """
        if self._tools is None:
            raise RuntimeError("call prepare() before execute().")
        for need in code.needs:
            if need in self.missing:
                raise UserError(f"{LANGUAGES[self.language].title} programs that need {need}: {INSTALL_NEED[need]}")
        recipe = self._recipe(code, sentinel, repair_imports)
        with temporary_folder("babel_jax_program_") as folder:
            places = {name: folder / name for name in ("code", "build")}
            for place in (folder, *places.values()):
                place.mkdir(exist_ok=True)
                place.chmod(0o755)  # the sandbox may read it as another user
            for name, text in recipe.sources.items():
                (places["code"] / name).write_bytes(text.encode())
            places["tools"] = self._tools
            run = functools.partial(sandbox.run, environment=recipe.environment, slot=slot)
            compiled = None
            if recipe.compile:
                reads, writes = _without(places, "build"), {"build": places["build"]}
                compiled = run(recipe.compile, limits=compile_limits, reads=reads, writes=writes)
                if compiled.status != 0 or compiled.ended_by != "itself":
                    self._require()
                    return Execution(compiled, None, False)
            ran = run(recipe.run, limits=run_limits, reads=_without(places, "" if recipe.compile else "build"))
            if ran.status != 0:
                self._require()
            return Execution(compiled, ran, sentinel is not None and sentinel.encode() in ran.stderr)

    def _require(self) -> None:
        for path in self._required:
            if not path.exists():
                raise FileNotFoundError(f"{LANGUAGES[self.language].title}: {path} is gone.")

    def _make(self, place: Path) -> None:
        """Makes in `place` what `prepare` promises."""

    def _recipe(self, code: Code, sentinel: str | None, repair_imports: bool) -> Recipe:
        raise NotImplementedError


def _without(places, *names) -> dict[str, Path]:
    return {name: place for name, place in places.items() if name not in names}


def _joined(code: Code, *more: str) -> str:
    return "\n".join((code.body, "", code.tests, *more))  # a backslash at the body's end takes the empty line, no test


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

    def __init__(self):
        self._python = _tool("python", "python3").resolve()
        super().__init__(_output(self._python, "--version", language="python"), (self._python,))

    def _recipe(self, code, sentinel, repair_imports):
        end = ()
        if sentinel is not None:
            first, second = _halves(sentinel)
            end = (f"__import__('os').write(2, ('\\n{first}' '{second}\\n').encode())\n",)
        command = (str(self._python), "-I", "-S", "-B", "{code}/program.py")
        return Recipe({"program.py": _joined(code, *end)}, (), command)


class PHP(Toolchain):
    """-n: Debian's php.ini sets zend.assertions=-1, with which a failed assertion passes. Extensions that every
    distribution of PHP has switched on are loaded by name."""

    language = "php"

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

    def _loads(self, extension: str, *options: str) -> bool:
        command = (self._php, "-n", "-d", "display_startup_errors=0", "-d", "log_errors=0", *options)
        return _output(*command, "-r", f"echo (int) extension_loaded('{extension}');", language="php") == "1"

    def _recipe(self, code, sentinel, repair_imports):
        end = ()
        if sentinel is not None:
            first, second = _halves(sentinel)
            end = (f'\\fwrite(\\STDERR, "\\n{first}" . "{second}\\n");\n',)
        return Recipe({"program.php": _joined(code, *end)}, (), (str(self._php), *self._options, "{code}/program.php"))


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
        run = (program,) if sentinel is None else ("{tools}/Launcher.exe", program, sentinel)
        trace = "Console.Error" if sentinel is None else "{tmp}/failed_assertions"
        environment = {"MONO_PATH": "{tools}", "MONO_TRACE_LISTENER": trace}
        return Recipe(
            {"program.cs": _joined(code)},
            (*compiler, f"-out:{program}", "{code}/program.cs"),
            (str(self._mono), *run),
            environment,
        )


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
GO_TEST = """package main

import (
	candidate "candidate"
	"os"
	"syscall"
	"testing"
	"testing/internal/testdeps"
)

func main() {
	sentinel := os.Args[1:]
	os.Args = []string{os.Args[0], "-test.paniconexit0"} // as go test does
	status := testing.MainStart(testdeps.TestDeps{}, []testing.InternalTest{%s}, nil, nil, nil).Run()
	for _, word := range sentinel {
		syscall.Write(2, []byte("\\n" + word + "\\n"))
	}
	os.Exit(status)
}
"""


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
        compile = f'"{self._compiler}" -complete -I "{{tools}}/packages" -I "{{build}}"'
        if code.harness == "go_test":
            steps = [
                f'{compile} -p candidate -o "{{build}}/candidate.a" "{{code}}/program.go"',
                f'{compile} -p main -o "{{build}}/program.a" "{{code}}/runner.go"',
            ]
        else:
            steps = [f'{compile} -p main -o "{{build}}/program.a" "{{code}}/"*.go']
        libraries = '-L "{tools}/packages" -L "{build}"'
        steps.append(f'"{self._linker}" -s -w {libraries} -o "{{build}}/program" "{{build}}/program.a"')
        run = ("{build}/program",) + (() if sentinel is None else (sentinel,))
        # else Go begins a thread for each of the machine's processors, and Limits counts threads
        environment = {"GOROOT": str(self._root), "GOMAXPROCS": "2"}
        return Recipe(sources, ("/bin/sh", "-c", " && ".join(steps)), run, environment)


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

    def _recipe(self, code, sentinel, repair_imports):
        program = _joined(code)
        command = [str(self._compiler), *self.OPTIONS]
        if includes_all_headers_first(program):
            command += ["-I", "{tools}/headers", "-include", "bits/stdc++.h"]
        command += ["-o", "{build}/program", "{code}/program.cpp"]
        if sentinel is not None:
            command += ["{tools}/sentinel.o", "-Wl,--wrap=main"]
        if "crypto" in code.needs:
            command.append("-lcrypto")
        run = ("{build}/program",) + (() if sentinel is None else (sentinel,))
        return Recipe({"program.cpp": program}, tuple(command), run)


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

    text = _blanked(program, ("comment",))
    package = re.match(r"\s*package\s+\w+", text)
    if package is None:
        return program
    end, specs = package.end(), []
    while declaration := GO_IMPORT.match(text, end):
        specs += re.findall(rf"(?<![\w.]){GO_SPEC}", declaration[0].split("import", 1)[1])
        end = declaration.end()
    code = _blanked(program[end:], ("comment", "string"))
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


def _blanked(program: str, kinds: tuple[str, ...]) -> str:
    """A Go program in which comments or strings are spaces, of the same length."""
    parts, end = [], 0
    for kind, start, stop in not_code(program, LANGUAGES["go"]):
        if kind in kinds:
            parts += [program[end:start], re.sub(r"[^\n]", " ", program[start:stop])]
            end = stop
    return "".join(parts) + program[end:]
