"""Go programs, by its compiler and linker; and their imports, of which Go demands that all are used."""

import dataclasses
import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from babel_jax.common.errors import UserError
from babel_jax.languages.lexical import blanked, code_and_end, code_only, identifiers
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites.toolchains.toolchain import SEARCHED, SHIMS, Recipe, Toolchain, joined

RUNS_MAIN = """package main

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
RUNS_TESTS = """package main

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
PREDECLARED = {
    "any", "bool", "byte", "comparable", "complex64", "complex128", "error", "float32", "float64", "int", "int8", "int16",
    "int32", "int64", "rune", "string", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr", "true", "false", "iota",
    "nil", "append", "cap", "close", "complex", "copy", "delete", "imag", "len", "make", "new", "panic", "print", "println",
    "real", "recover",
}  # fmt: skip
# Packages that an import is added for, by the name they are used under; where two have one name, the commoner.
PACKAGES = {
    package.rsplit("/", 1)[-1]: package
    for package in (
        "bufio", "bytes", "cmp", "container/heap", "container/list", "container/ring", "context", "crypto/md5",
        "crypto/sha1", "crypto/sha256", "crypto/sha512", "encoding/base64", "encoding/binary", "encoding/hex",
        "encoding/json", "errors", "fmt", "hash/crc32", "hash/fnv", "io", "maps", "math", "math/big", "math/bits",
        "math/cmplx", "math/rand", "os", "reflect", "regexp", "runtime", "slices", "sort", "strconv", "strings",
        "sync", "sync/atomic", "text/tabwriter", "time", "unicode", "unicode/utf16", "unicode/utf8", "unsafe",
    )
}  # fmt: skip
# Those that the harness of HumanEval-X knows.
HUMANEVAL_X_PACKAGES = (
    "math",
    "strings",
    "fmt",
    "strconv",
    "time",
    "bytes",
    "regexp",
    "sort",
    "math/rand",
    "crypto/md5",
)
SPEC = r"""(?:([\w.]+)\s*)?["`]([^"`]+)["`]"""
DECLARATION = re.compile(rf"[\s;]*\bimport\b\s*(?:\([^)]*\)|{SPEC})")
LINE_OF_IMPORT = re.compile(r'^import\s*(?:\(|"[^"\n]*")', re.MULTILINE)
LINE_END = re.compile(r"[ \t]*\n?")


class Go(Toolchain):
    """The compiler and the linker called by themselves, with archives of the standard library made once: no build
    cache is needed. Neither `go vet` (which `go test` runs before) nor modules are in it."""

    language = "go"
    install = "apt-get install golang-go"
    declaring = "func|type|var|const"
    control = (
        "package main\n\nfunc f() int { return 1 }\n",
        'func main() {\n\tif f() != 1 {\n\t\tpanic("wrong")\n\t}\n}\n',
    )
    endless = "for {\n\t}"
    signs = (
        ("oom", r"^(?:fatal error: |runtime: )(?:.*out of memory|cannot allocate memory).*"),
        ("message", r"^panic: (?P<message>.*?)(?: \[recovered\])?$"),
        ("runtime_error", r"^fatal error: .*"),
        ("failed_assert", r"^ *--- FAIL: .*"),
    )
    repairs_imports = True
    statement_ends = ()

    def __init__(self):
        go = self._tool("go").resolve()
        self._go = go
        self._root, tools = (Path(line) for line in self._output(go, "env", "GOROOT", "GOTOOLDIR").splitlines())
        self._compiler, self._linker = (self._shown(tools / name) for name in ("compile", "link"))
        super().__init__(self._output(go, "version"), (go, self._compiler, self._linker))

    def _make(self, place):
        """Archives of the standard library as IMPORT_PATH.a, but for those that this Go has in GOROOT, and testify."""
        packages = place / "packages"
        with tempfile.TemporaryDirectory() as home:
            environment = {"PATH": SEARCHED, "HOME": home, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
            command = (self._go, "list", "-export", "-f", "{{.ImportPath}} {{.Export}}", "std")
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)
            if done.returncode != 0:
                raise UserError(
                    f"Go: the standard library does not compile: {done.stderr.strip()[:200]!r}; {self.install}"
                )
            for line in done.stdout.splitlines():
                package, _, archive = line.partition(" ")
                if archive and self._root not in Path(archive).parents:
                    target = packages / f"{package}.a"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(archive, target)
        target = packages / "github.com/stretchr/testify/assert.a"
        target.parent.mkdir(parents=True, exist_ok=True)
        compile = functools.partial(self._output, self._compiler, "-complete", "-I", packages)
        compile("-p", "github.com/stretchr/testify/assert", "-o", target, SHIMS / "assert.go")
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "shadows.a")
            compile("-p", "main", "-o", archive, SHIMS / "shadows.go")
            self._output(self._linker, "-s", "-w", "-L", packages, "-o", place / "shadows", archive)

    @classmethod
    def body(cls, prefix, program, tests):
        """HumanEval-X's rule, where the prefix is no more than a package clause and imports: those of prefix and program, and
        the packages that its harness knows, are imported where their name and a point stand, and nothing else is."""
        (written, before), (written_too, rest) = _without_imports(prefix), _without_imports(program)
        if not re.fullmatch(r"\s*package\s+\w+\s*", before):
            return prefix + program
        paths = sorted({*re.findall(r'"([^"\n]+)"', written + written_too), *HUMANEVAL_X_PACKAGES})
        used = set(re.findall(r"(?<![\w.])(\w+)\.", code_only(rest + "\n" + tests, LANGUAGES["go"])))
        imports = "".join(f'import "{path}"\n' for path in paths if path.rpartition("/")[2] in used)
        return before.rstrip() + "\n\n" + imports + "\n" + rest

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
            runner = RUNS_TESTS % ", ".join(f'{{Name: "{name}", F: candidate.{name}}}' for name in names)
        elif sentinel is not None:
            tests, mains = re.subn(r"^func\s+main\s*\(\s*\)", "func main_of_the_tests()", tests, flags=re.MULTILINE)
            if not mains:
                raise UserError("the tests of a Go program hold no func main(); mend the suite.")
            runner = RUNS_MAIN
        program = joined(dataclasses.replace(code, tests=tests))
        if repair_imports:
            program = repaired_imports(program)
        sources = {"program.go": program} | ({"runner.go": runner} if runner else {})
        steps = []
        packages = (
            set(re.findall(r"(?<![\w.])(\w+)\.[A-Z]", code_and_end(code.tests, self.record)[0])) & PACKAGES.keys()
        )
        kept = sorted((PREDECLARED & identifiers(code.tests, self.record) | packages) - set(code.declares))
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


def _without_imports(text: str) -> tuple[str, str]:
    """(the import declarations of a text that begin a line, the text without them)."""
    imports, others, end, last = [], [], 0, text.rfind(")")
    for match in LINE_OF_IMPORT.finditer(text):
        stop = match.end()
        if match.start() < end or (match[0].endswith("(") and stop > last):
            continue  # within the one before, or never closed
        if match[0].endswith("("):
            stop = text.index(")", stop) + 1
        others.append(text[end : match.start()])
        end = LINE_END.match(text, stop).end()
        imports.append(text[match.start() : end])
    return "".join(imports), "".join((*others, text[end:]))


def repaired_imports(program: str) -> str:
    """A Go program with the imports that it uses: unused and double ones go, missing ones of PACKAGES come.

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
    while declaration := DECLARATION.match(text, end):
        specs += re.findall(rf"(?<![\w.]){SPEC}", declaration[0].split("import", 1)[1])
        end = declaration.end()
    code = blanked(program[end:], LANGUAGES["go"], ("comment", "string"))
    members = set(re.findall(r"(?<![\w.])(\w+)\s*\.\s*[A-Z]", code))
    names = {spec: spec[0] or re.sub(r"/v\d+$", "", spec[1]).rsplit("/", 1)[-1] for spec in specs}
    kept = [spec for spec, name in names.items() if name in ("_", ".") or name in members]
    for name in sorted(members & PACKAGES.keys() - {names[spec] for spec in kept}):
        if not re.search(rf"(?<![\w.]){name}\b(?!\s*\.\s*[A-Z])", code):
            kept.append(("", PACKAGES[name]))
    if kept == specs:
        return program
    block = "".join(f'\t{alias} "{path}"\n' if alias else f'\t"{path}"\n' for alias, path in kept)
    return program[: package.end()] + (f"\n\nimport (\n{block})\n" if kept else "\n") + program[end:].lstrip("; \t")
