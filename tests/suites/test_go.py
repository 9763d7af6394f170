"""Go programs: tests of both kinds, testify, and imports, of which Go demands that all are used."""

import dataclasses

import pytest
from helpers.programs import output

from babel_jax.common.errors import UserError
from babel_jax.suites.toolchains.go import repaired_imports
from babel_jax.suites.toolchains.toolchain import Code

GO_TESTED = 'package main\n\nimport (\n\t"testing"\n\t"github.com/stretchr/testify/assert"\n)\n\n'


def test_go_assertions_are_as_testify_documents(execute):
    body = (
        GO_TESTED
        + "type counted struct{ failures int }\nfunc (c *counted) Errorf(string, ...interface{}) { c.failures++ }\n"
    )
    tests = """
func TestAssertions(t *testing.T) {
	c := &counted{}
	a := assert.New(c)
	for i, held := range []bool{
		a.Equal(1, 1), a.Equal([]int{1, 2}, []int{1, 2}), a.Equal(nil, nil), a.Equal([]byte{1}, []byte{1}), a.True(true),
		a.False(false), a.Equal(map[string]int{"a": 1}, map[string]int{"a": 1}), a.Equal([]byte(nil), []byte(nil)),
	} {
		if !held || c.failures != 0 {
			t.Fatal("did not hold", i)
		}
	}
	for i, held := range []bool{
		a.Equal(1, 2), a.Equal(1, int64(1)), a.Equal(1, 1.0), a.Equal([]int{1}, []int{2}), a.Equal([]int(nil), []int{}),
		a.Equal([]byte(nil), []byte{}), a.Equal([]byte{1}, "x"), a.True(false), a.False(true),
		a.Equal((func())(nil), (func())(nil)),
	} {
		if held || c.failures != 10 {
			t.Fatal("held", i, c.failures)
		}
	}
}
"""
    execution = execute(Code("go", body, tests, "go_test", ("testify",)))
    assert execution.sentinel_seen and execution.ran.status == 0, output(execution)


@pytest.mark.parametrize("package", ["main", "x_test"])
def test_go_runs_all_tests_of_a_package(execute, package):
    """A package of any name, with a main of its own; a failure in the last test and a panic count."""
    body = (
        f'package {package}\n\nimport "testing"\n\nfunc f(x int) int {{ return x + 1 }}\n\nfunc main() {{ panic(1) }}\n'
    )
    first = 'func TestFirst(t *testing.T) { if f(1) != 2 { t.Errorf("first") } }\n'
    for last, status in (("t.Log(1)", 0), ('t.Errorf("last")', 1), ('panic("last")', 2)):
        code = Code("go", body, first + f"func Test_last(t *testing.T) {{ {last} }}\n", "go_test")
        execution = execute(code)
        assert execution.ran.status == status, output(execution)
        assert execution.sentinel_seen == (status < 2)


def test_go_tests_that_hold_no_test_are_the_suites_error(execute):
    with pytest.raises(UserError, match="no function TestName"):
        execute(Code("go", GO_TESTED, "func Testing(t *testing.T) {}\n", "go_test"))
    with pytest.raises(UserError, match="no func main"):
        execute(Code("go", "package main\nfunc main() {}\n", "func Testing() {}\n"))


def test_go_leaving_inside_a_test_fails(execute):
    body = 'package main\n\nimport (\n\t"os"\n\t"testing"\n)\n\nfunc f() { os.Exit(0) }\n'
    execution = execute(Code("go", body, "func TestF(t *testing.T) { f() }\n", "go_test"))
    assert execution.ran.status != 0 and not execution.sentinel_seen


def test_go_names_of_the_program_do_not_meet_those_around_it(execute):
    body = "package main\n\nfunc os() int { return 1 }\n\nvar syscall, sentinel = 1, 2\n"
    execution = execute(Code("go", body, "func main() { if os()+syscall+sentinel != 4 { panic(1) } }"))
    assert execution.sentinel_seen, output(execution)


def test_go_has_as_many_threads_on_every_machine(execute):
    body = 'package main\n\nimport "os"\n'
    execution = execute(Code("go", body, 'func main() { println("threads", os.Getenv("GOMAXPROCS")) }'))
    assert execution.sentinel_seen and "threads 2\n" in output(execution)


def test_go_can_import_the_whole_standard_library(execute):
    """Also what is linked with C, and what stands in the vendor folder."""
    body = 'package main\n\nimport (\n\t"net/http"\n\t"os/user"\n)\n\n'
    tests = 'func main() { _, _ = user.Current(); if http.StatusText(404) != "Not Found" { panic(1) } }'
    execution = execute(Code("go", body, tests))
    assert execution.ran is not None and execution.sentinel_seen, output(execution)


def imports(program):
    head = repaired_imports(program).split("func f()")[0].split("import", 1)[1]
    return [line.strip() for line in head.strip(" ()\n").splitlines() if line.strip()]


@pytest.mark.parametrize(
    "head, code, expected",
    [
        ('import "fmt"', "fmt.Println(1)", ['"fmt"']),
        ('import "os"', "fmt.Println(1)", ['"fmt"']),
        ('import (\n"os" // fmt\n"fmt"\n)', "fmt.Println(1)", ['"fmt"']),
        ('import "fmt"\nimport "os"; import "fmt"', "fmt.Println(1)", ['"fmt"']),
        ('import f "fmt"', "f.Println(strings.ToUpper(1))", ['f "fmt"', '"strings"']),
        ('import _ "fmt"; import . "os"', "sort . Ints()", ['_ "fmt"', '. "os"', '"sort"']),
        ('/* import "os" */ import `fmt`', "fmt.Println(rand.Intn(3))", ['"fmt"', '"math/rand"']),
        ('import "crypto/rand"', "rand.Read(nil)", ['"crypto/rand"']),
        ('import "math/rand/v2"\nimport "os"', "rand.N(3)", ['"math/rand/v2"']),
        ('import "fmt"', 'fmt.Println("os.Exit", `sort.Ints`, \'"\') // math.Pi\n/* time.Now */', ['"fmt"']),
        ('import ("fmt"; "os")', "list := 1; list.Add(); x.heap.Pop(); heap.pop(); fmt.Print(sort.Ints)", ['"fmt"', '"sort"']),
        ('import ("x.org/testify/assert"\n"os")', "assert := assert.New(t)", ['"x.org/testify/assert"']),
        ('import "os"; type T strings.Builder\n', "", ['"strings"', ")", "type T strings.Builder"]),
    ],
)  # fmt: skip
def test_go_imports_are_those_used(head, code, expected):
    repaired = f"package main\n\n{head}\n\nfunc f() {{ {code} }}\n"
    assert imports(repaired) == expected
    assert repaired_imports(repaired_imports(repaired)) == repaired_imports(repaired)
    assert "func f()" in repaired_imports(repaired)


@pytest.mark.parametrize(
    "text",
    [
        'package main\n\nimport "fmt"\n\nfunc f() { fmt.Println() }\n',
        "func f() { fmt.Println() }\n",
        "package main\n",
        "",
    ],
)
def test_go_programs_without_fault_stay_as_they_are(text):
    assert repaired_imports(text) == text


def test_go_imports_can_all_go():
    assert "import" not in repaired_imports('package main\n\nimport "fmt"\n\nfunc f() {}\n')


def test_go_imports_are_repaired_only_when_asked(execute):
    body = 'package main\n\nimport (\n\t"encoding/json"\n\t"reflect"\n)\n\nfunc f() string { return strings.ToUpper("a") }\n'
    code = Code("go", body, 'func main() { if !reflect.DeepEqual(f(), "A") { panic("wrong") } }\n')
    assert execute(code).ran is None
    assert execute(code, repair_imports=True).sentinel_seen
    one_line = dataclasses.replace(
        code, body='package main; import "os"; func f() string { return strings.ToUpper("a") }; '
    )
    one_line = dataclasses.replace(one_line, tests='func main() { if f() != "A" { panic(1) } }')
    assert execute(one_line, repair_imports=True).sentinel_seen
