"""C# programs, by Mono."""

import re

from babel_jax.common.errors import UserError
from babel_jax.languages.lexical import code_and_end
from babel_jax.suites.toolchains.toolchain import DIRECTIVE, SHIMS, Code, Recipe, Toolchain, joined


class CSharp(Toolchain):
    """mcs and mono. A failed Debug.Assert is printed on standard error and the program goes on; it then fails, but where
    there is no sentinel it is left to the judge what that means, as the peers have it.

    Most of the time goes into starting mcs. One that stays resident would save 90 of 210 ms a program, but all programs
    would then share one process and its limits.
    """

    language = "csharp"
    install = "apt-get install mono-mcs mono-runtime libmono-system-numerics4.0-cil"
    declaring = "class|struct|interface|enum|delegate"
    control = (
        "using System;\npublic class Program\n{\n    public static int F() { return 1; }\n",
        '    public static void Main(string[] args) { if (F() != 1) { throw new Exception("wrong"); } }\n}\n',
    )
    signs = (
        ("oom", r"(?P<line>System\.OutOfMemoryException\b.*|Garbage collector could not allocate.*)"),
        ("compile_error", r"\Aerror: the program defines .*"),  # shims/Launcher.cs, before the program runs
        ("failed_assert", r"^(?P<line>Fail: Debug\.Assert.*|Fail:.*(?=\n.*DefaultTraceListener\.Fail ))"),
        ("message", r"^\[ERROR\] FATAL UNHANDLED EXCEPTION: (?P<line>[^\s:]+(?:: (?P<message>.*))?)"),
    )
    assertions_go_on = True
    has_directives = True
    REFERENCES = {"compare_net_objects": "CompareNetObjects"}
    OPTIONS = ("-nologo", "-warn:0", "-codepage:utf8", "-d:DEBUG", "-r:System.Numerics.dll")

    def __init__(self):
        self._mono = self._tool("mono").resolve()
        library = self._tool("mcs").resolve().parents[1] / "lib" / "mono" / "4.5"
        self._mcs = library / "mcs.exe"
        for path in (self._mcs, library / "System.Numerics.dll"):
            if not path.is_file():
                raise UserError(f"C#: {path} is not installed; {self.install}")
        version = self._output(self._mono, self._mcs, "--version")
        runtime = self._output(self._mono, "--version").splitlines()[0]
        super().__init__(version, (self._mono, self._mcs, library / "System.Numerics.dll"), (runtime,))

    def _make(self, place):
        compiler = (self._mono, self._mcs, *self.OPTIONS)
        library = f"-out:{place}/CompareNetObjects.dll"
        self._output(*compiler, "-target:library", library, SHIMS / "CompareNetObjects.cs")
        self._output(*compiler, f"-out:{place}/Launcher.exe", SHIMS / "Launcher.cs")

    def _recipe(self, code, sentinel, repair_imports):
        references = [f"-r:{{tools}}/{self.REFERENCES[need]}.dll" for need in code.needs]
        compiler = (str(self._mono), str(self._mcs), *self.OPTIONS, *references)
        program = "{build}/program.exe"
        run = (program,) if sentinel is None else ("{tools}/Launcher.exe", program, sentinel, *self._meant(code))
        trace = "Console.Error" if sentinel is None else "{tmp}/failed_assertions"
        environment = {"MONO_PATH": "{tools}", "MONO_TRACE_LISTENER": trace}
        return Recipe(
            {"program.cs": joined(code)},
            (*compiler, f"-out:{program}", "{code}/program.cs"),
            (str(self._mono), *run),
            environment,
        )

    def _refused(self, code, apart):
        if apart and re.search(rf"{DIRECTIVE}undef\s+DEBUG\b", code_and_end(code.body, self.record)[0]):
            return "the program takes away DEBUG, and with it every Debug.Assert of the tests"
        return super()._refused(code, apart)

    def _meant(self, code: Code) -> tuple[str, str]:
        """(names in the tests that must mean the library's, names that the program gives to what may be anything)."""
        tests, body = (code_and_end(text, self.record)[0] for text in (code.tests, code.body))
        names = re.findall(r"([^\W\d]\w*)(?=(\s*<)?)", tests)
        meant = {name + ("`" if generic else "") for name, generic in names if name not in code.declares}
        aliases = re.findall(r"\busing\s+@?(\w+)\s*=", body)
        return ",".join(sorted(meant)), ",".join(aliases)
