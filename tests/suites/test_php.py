"""PHP programs: extensions and assertions."""

from helpers.programs import output

from babel_jax.suites import toolchains
from babel_jax.suites.toolchains import php
from babel_jax.suites.toolchains.toolchain import Code


def test_php_has_the_usual_extensions(execute):
    execution = execute(Code("php", "<?php\n", "if (!ctype_upper('A')) { throw new Exception(); }\n"))
    assert execution.sentinel_seen, output(execution)


def test_a_failed_assertion_of_php_throws_also_where_that_is_not_the_default(sandboxed, ready, monkeypatch, tmp_path):
    """Before PHP 8 it only warned. The old default is given to this PHP, before the options of ours."""
    old = tmp_path / "php"
    old.write_text(f'#!/bin/sh\nexec {ready("php")._php} -d assert.exception=0 "$@"\n')
    old.chmod(0o755)
    monkeypatch.setattr(php.PHP, "_tool", lambda self, name: old)
    options = php.PHP()._options
    assert toolchains.find("php")._options == options
    command = [str(ready("php")._php), "-n", "-d", "assert.exception=0", *options, "-r", "assert(1 === 2);"]
    assert sandboxed.run(command).status == 255
