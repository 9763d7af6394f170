"""PHP programs, by its command line interpreter."""

import dataclasses
import re
import shutil

from babel_jax.languages.lexical import code_and_end, identifiers, substituted
from babel_jax.suites.toolchains.toolchain import SHIMS, Recipe, Toolchain, joined


class PHP(Toolchain):
    """-n: Debian's php.ini sets zend.assertions=-1, with which a failed assertion passes. Extensions that every
    distribution of PHP has switched on are loaded by name. Where there is a sentinel, the tests' assert() is a function of
    ours (shims/assert.php): PHP's own is without effect once a program has set zend.assertions or assert.exception to 0."""

    language = "php"
    install = "apt-get install php-cli"
    declaring = "function|class|interface|trait|const|namespace"
    control = ("<?php\nfunction f() { return 1; }\n", 'if (f() !== 1) { throw new Exception("wrong"); }\n')
    signs = (
        ("oom", r"^(?:PHP )?Fatal error: +(?:Allowed memory size|Out of memory).*"),
        ("compile_error", r"^(?:PHP )?Parse error: (?!.*eval\(\)'d code).*"),
        ("failed_assert", r"^(?:PHP )?Fatal error: +Uncaught AssertionError\b.*"),
        ("message", r"^(?:PHP )?Fatal error: +Uncaught [\w\\]+(?:: (?P<message>.*?))? in .*"),
        ("runtime_error", r"^(?:PHP )?Fatal error: .*"),
    )
    opening = r"<\?(?:php|=)?"
    ASSERT = r"(?i)(?<![\w$>:\\])(?<!\bfunction )\\?assert(?=\s*\()"

    def __init__(self):
        self._php = self._tool("php").resolve()
        self._options = ("-n", "-d", "zend.assertions=1")
        for name in ("ctype", "mbstring"):
            option = ("-d", f"extension={name}")
            if not self._loads(name) and self._loads(name, *option):
                self._options += option
        if self._output(self._php, "-n", "-r", "echo ini_get('assert.exception');") != "1":  # before PHP 8
            self._options += ("-d", "assert.exception=1")
        version = self._output(self._php, "-n", "--version").splitlines()[0]
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
        return self._output(*command, "-r", f"echo (int) extension_loaded('{extension}');") == "1"

    def _recipe(self, code, sentinel, repair_imports):
        end, command = (), (str(self._php), *self._options)
        if sentinel is not None:
            half = len(sentinel) // 2  # a message that quotes the program's last line must not hold the sentinel
            tests = substituted(code.tests, self.record, self.ASSERT, r"\\babel_jax_assert")
            code = dataclasses.replace(code, tests=tests)
            command = (*command, "-d", "auto_prepend_file={tools}/assert.php")
            end = (f'\\fwrite(\\STDERR, "\\n{sentinel[:half]}" . "{sentinel[half:]}\\n");\n',)
        return Recipe({"program.php": joined(code, *end)}, (), (*command, "{code}/program.php"))
