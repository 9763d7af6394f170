"""Python programs, by the system's interpreter."""

from babel_jax.suites.toolchains.toolchain import SHIMS, Recipe, Toolchain, joined


class Python(Toolchain):
    """The system's interpreter without what is installed beside it (-S), so that verdicts do not depend on that."""

    language = "python"
    install = "apt-get install python3"
    declaring = "def|class"
    control = ("def f():\n    return 1\n", "assert f() == 1\n")
    endless = "while True: pass"
    signs = (
        ("oom", r"^MemoryError\b.*"),
        ("compile_error", r"\A(?!(?:.*\n)*Traceback \(most)(?:.*\n)*?(?P<line>(?:Syntax|Indentation|Tab)Error\b.*)"),
        ("failed_assert", r"^AssertionError\b.*"),
        ("message", r"^(?:\w+\.)*\w*(?:Error|Exception)\b(?:: (?P<message>.*))?"),
    )
    OPTIONS = ("-I", "-S", "-B")

    def __init__(self):
        self._python = self._tool("python3").resolve()
        super().__init__(self._output(self._python, "--version"), (self._python,))

    def _make(self, place):
        script = "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2], 'launcher.py', doraise=True)"
        self._output(self._python, *self.OPTIONS, "-c", script, SHIMS / "launcher.py", place / "launcher.pyc")

    def _refused(self, code, apart):
        if "\0" in code.body + code.tests:  # until 3.11.4 it hid the rest of its line without an error
            return "the program holds a NUL character, which Python refuses with a SyntaxError from 3.11.4 on"
        return ""

    def _recipe(self, code, sentinel, repair_imports):
        command, program = (str(self._python), *self.OPTIONS), "{code}/program.py"
        if sentinel is None:
            return Recipe({"program.py": joined(code)}, (), (*command, program))
        body = code.body + "\n"
        run = (*command, "{tools}/launcher.pyc", program, str(len(body)), ",".join(code.declares), sentinel)
        return Recipe({"program.py": body + code.tests}, (), run)
