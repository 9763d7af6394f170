"""C++ programs: the precompiled header, libraries, and names that a program and its tests share."""

import dataclasses

import pytest
from helpers.programs import SENTINEL, output, program

from babel_jax.suites.toolchains import cpp
from babel_jax.suites.toolchains.toolchain import Code


def test_a_right_program_may_use_the_names_of_the_tests_for_itself(execute):
    """A comparator called compare, macros, operators of its own types: nothing of it is a cheat."""
    body = """#include <bits/stdc++.h>
using namespace std;
#define throw throw
#define ll long long
#define INT_MAX 2147483647
struct P { int x; bool operator==(const P& other) const { return x == other.x; } };
bool operator==(const P& one, int other) { return one.x == other; }
bool operator<(const pair<int, int>& one, const pair<int, int>& other) { return one.second < other.second; }
bool compare(pair<int, int> one, pair<int, int> other) { return one.second < other.second; }
void* operator new(size_t n) { return malloc(n); }
void operator delete(void* p) noexcept { free(p); }
int f(int x) {
    vector<pair<int, int>> v = {{1, 2}, {2, 1}}; sort(v.begin(), v.end(), compare); map<int, string> m; atexit([] {});
    return m == m && v == v && v[0].first == 2 && P() == P() ? x + 1 : 0;
}
"""
    tests = "template <typename T> bool compare(T a, T b){\n    return a == b;\n}\n"
    tests += 'int main() {\n    if (!(compare(f(1), 2))) { throw runtime_error("wrong"); }\n    return f(INT_MAX - 2) < 0;\n}\n'
    execution = execute(Code("cpp", body, tests))
    assert execution.sentinel_seen, output(execution)


@pytest.mark.parametrize("returns, status", [("", 0), ("return 0;", 0), ("return 3;", 3)])
def test_main_of_cpp_keeps_its_arguments_and_its_status(execute, returns, status):
    tests = f"int main(int n, char** words) {{ if (n != 1 || words[1]) return 4; {returns} }}"
    execution = execute(Code("cpp", "", tests))
    assert execution.ran.status == status, output(execution)


CPP = {
    "first": ("#include <bits/stdc++.h>\nusing namespace std;\n", True, 0),
    "behind comments": ("/* <a> ** */\n// b\n # include <bits/stdc++.h>\nusing namespace std;\n", True, 0),
    "behind standard headers": (
        "#include <assert.h>\n#include <cmath>\n#include<bits/stdc++.h>\nusing namespace std;\n",
        True,
        0,
    ),
    "behind a macro": ("#define NDEBUG\n#include <bits/stdc++.h>\nusing namespace std;\n#define OFF\n", False, 0),
    "behind code": ("int g();\n#include <bits/stdc++.h>\nusing namespace std;\n", False, 0),
    "behind a pragma": ("#pragma GCC optimize(2)\n#include <bits/stdc++.h>\nusing namespace std;\n", False, 0),
    "in a comment": ("// #include <bits/stdc++.h>\nusing namespace std;\n", False, None),
    "lacking": ("#include <string>\nusing namespace std;\n", False, None),
    "other header first": ("#include <nothing.h>\n#include <bits/stdc++.h>\nusing namespace std;\n", False, None),
}


@pytest.mark.parametrize("case", CPP)
def test_the_precompiled_header_changes_no_verdict(execute, ready, monkeypatch, case):
    """The program needs <map>, which other headers of the standard do not bring along."""
    head, precompiled, status = CPP[case]
    tests = "int main() { map<int, int> m; m[1] = 2; assert(m[1] == (strlen(__FILE__) > 0 ? 2 : 3)); }"
    code = Code("cpp", head, tests)
    toolchain = ready("cpp")
    recipe = toolchain._recipe(code, SENTINEL, False)
    assert ("-include" in recipe.compile) == precompiled
    for _ in ("as it is", "without the precompiled header") if precompiled else ("without anyhow",):
        execution = execute(code)
        assert (execution.ran and execution.ran.status, execution.sentinel_seen) == (status, status == 0), output(
            execution
        )
        monkeypatch.setattr(cpp, "includes_all_headers_first", lambda program: False)
    assert "-include" not in toolchain._recipe(code, SENTINEL, False).compile


def test_the_precompiled_header_is_accepted_by_the_compiler(execute, ready, monkeypatch):
    toolchain = ready("cpp")
    monkeypatch.setattr(toolchain, "OPTIONS", (*toolchain.OPTIONS, "-Winvalid-pch", "-Werror=invalid-pch", "-H"))
    execution = execute(program("cpp"))
    assert "! " in output(dataclasses.replace(execution, ran=None)).splitlines()[0]  # "!" marks a precompiled header


def test_cpp_links_the_crypto_library(execute, ready):
    if "crypto" in ready("cpp").missing:
        pytest.skip("openssl's headers are not installed, so its C++ program was not run")
    tests = 'int main() { unsigned char d[16]; MD5((const unsigned char*)"", 0, d); return d[0] != 0xd4; }'
    code = Code("cpp", "#include <openssl/md5.h>\n", tests)
    assert execute(code).ran is None
    assert execute(dataclasses.replace(code, needs=("crypto",))).sentinel_seen


def test_headers_are_looked_for(ready):
    assert ready("cpp")._has("vector") and not ready("cpp")._has("no/such/header.hpp")
