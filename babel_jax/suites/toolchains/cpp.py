"""C++ programs, by g++."""

import dataclasses
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from babel_jax.languages.lexical import code_and_end, identifiers, substituted
from babel_jax.suites.toolchains.toolchain import DIRECTIVE, SHIMS, Code, Recipe, Toolchain, joined

LIBRARIES = ("libstdc++.so.6", "libc.so.6", "libm.so.6", "libgcc_s.so.1")
# A function that the tests define: from the beginning of a line to its body.
FUNCTION = re.compile(
    r"^[A-Za-z_][^;{}()=]*[\s&*>](?!(?:main|if|for|while|switch|catch)\b)(\w+)\s*\([^()]*\)\s*\{", re.MULTILINE
)
CHECKED = """"$@" || exit
nm -C --defined-only "{build}/program" > "{build}/symbols" &&
awk -f "{tools}/symbols.awk" "{tools}/library_functions" "{build}/symbols\""""

# Headers of the C++ standard: they may be included in any order (C++17, 20.5.2.2).
HEADERS = (
    "algorithm any array atomic bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits clocale cmath "
    "codecvt complex condition_variable csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar "
    "cwctype deque exception execution filesystem forward_list fstream functional future initializer_list iomanip ios "
    "iosfwd iostream istream iterator limits list locale map memory memory_resource mutex new numeric optional ostream "
    "queue random ratio regex scoped_allocator set shared_mutex sstream stack stdexcept streambuf string string_view "
    "strstream system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray "
    r"variant vector (?:assert|ctype|errno|fenv|float|inttypes|limits|locale|math|setjmp|signal|stdarg|stddef|stdint|stdio|"
    r"stdlib|string|time|uchar|wchar|wctype)\.h"
).replace(" ", "|")
INCLUDE = r"#[ \t]*include[ \t]*"
BEFORE_CODE = re.compile(rf"\s+|//[^\n]*|/\*.*?\*/|{INCLUDE}<(?:{HEADERS})>", re.DOTALL)
ALL_HEADERS = re.compile(rf"{INCLUDE}<bits/stdc\+\+\.h>")


def includes_all_headers_first(program: str) -> bool:
    """Whether nothing but standard headers and comments stands before a C++ program's <bits/stdc++.h>."""
    end = 0
    while passed := BEFORE_CODE.match(program, end):
        end = passed.end()
    return ALL_HEADERS.match(program, end) is not None


class Cpp(Toolchain):
    """g++ without optimisation: compiling takes longer than running.

    A precompiled <bits/stdc++.h> makes compiling three times as fast. It is put in front of a program that includes this
    header itself and has nothing but standard headers and comments before it; to all others it would lend headers that
    they lack, or hide macros from it that they define.
    """

    language = "cpp"
    install = "apt-get install g++"
    installs = {"boost": "apt-get install libboost-dev", "crypto": "apt-get install libssl-dev"}
    declaring = "class|struct|enum|#define"
    control = ("#include <vector>\nint f() { return 1; }\n", "int main() { return f() == 1 ? 0 : 1; }\n")
    signs = (
        ("oom", r"^terminate called after throwing an instance of 'std::bad_(?:array_new_length|alloc)'.*"),
        ("failed_assert", r"^.*Assertion `.*' failed\.$"),
        ("message", r"^terminate called .*\n  what\(\):  (?P<message>.*)"),
        ("runtime_error", r"^terminate called .*"),
    )
    has_directives = True
    OPTIONS = ("-std=c++17", "-O0", "-w")

    def __init__(self):
        self._compiler = self._tool("g++")
        version = self._output(self._compiler, "--version").splitlines()[0]
        inner = Path(self._output(self._compiler, "-print-prog-name=cc1plus"))
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
        self._output(*compiler, "-x", "c++-header", "-o", f"{header}.gch", header)
        self._output(*compiler, "-c", "-o", place / "sentinel.o", SHIMS / "sentinel.cpp")
        shutil.copyfile(SHIMS / "symbols.awk", place / "symbols.awk")
        libraries = [self._output(self._compiler, f"-print-file-name={name}") for name in LIBRARIES]
        symbols = self._output("nm", "-D", "--defined-only", *libraries)
        names = sorted(set(re.findall(r"^[0-9a-f]+ [TWi] ((?!_Z)\w+)", symbols, re.MULTILINE)))
        (place / "library_functions").write_text("\n".join(names) + "\n")
        macros = self._output(*compiler, "-x", "c++", "-dM", "-E", "-include", "bits/stdc++.h", "/dev/null")
        (place / "library_macros").write_text("\n".join(re.findall(r"^#define (\w+)", macros, re.MULTILINE)))

    def _recipe(self, code, sentinel, repair_imports):
        program = joined(code if sentinel is None else self._apart(code))
        command = [str(self._compiler), *self.OPTIONS]
        if includes_all_headers_first(program):
            command += ["-I", "{tools}/headers", "-include", "bits/stdc++.h"]
        command += ["-o", "{build}/program", "{code}/program.cpp"]
        if sentinel is not None:
            command += ["{tools}/sentinel.o", "-Wl,--wrap=main"]
        if "crypto" in code.needs:
            command.append("-lcrypto")
        run = ("{build}/program",) + (() if sentinel is None else (sentinel,))
        checked = () if sentinel is None else ("/bin/sh", "-c", CHECKED, "sh")
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
        own_functions = set(FUNCTION.findall(code_and_end(tests, self.record)[0]))
        both = own_functions & identifiers(code.body, self.record) - set(code.declares)
        own = hashlib.sha256((code.body + tests).encode()).hexdigest()[:16]  # no program can hold its own hash
        for name in sorted(both):
            tests = substituted(tests, self.record, rf"(?<![\w.>:]){name}\b", f"{name}_{own}")
        return dataclasses.replace(code, tests="".join(head) + tests)
