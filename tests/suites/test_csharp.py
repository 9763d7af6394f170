"""C# programs: failed assertions, the exit status, and the library that compares objects."""

import dataclasses

from helpers.programs import output, program

from babel_jax.suites.toolchains.toolchain import Code


def test_csharp_keeps_the_exit_code_that_the_program_set(execute):
    code = Code("csharp", "using System;\nclass P {\n", "static void Main() { Environment.ExitCode = 3; } }")
    assert execute(code).ran.status == 3


def test_a_failed_assertion_of_csharp_fails_the_program_or_is_printed(execute):
    code = program("csharp", "return 2;")
    strict = execute(code)
    assert strict.ran.status == 1 and b"Fail:" in strict.ran.stderr and not strict.sentinel_seen
    caught = code.tests.replace("Debug.Assert(F(2) == 3);", "try { Debug.Assert(false); } catch { }")
    assert execute(dataclasses.replace(code, tests=caught)).ran.status == 1
    as_peers = execute(code, sentinel=None)
    assert as_peers.ran.status == 0 and b"Fail:" in as_peers.ran.stderr
    assert execute(program("csharp"), sentinel=None).ran.stderr == b""
    written = program("csharp", 'Debug.WriteLine("Fail: no"); return x + 1;')
    assert execute(written).sentinel_seen


def test_csharp_needs_one_entry_point(execute):
    code = program("csharp")
    second = dataclasses.replace(code, tests=code.tests + "class Other { static void Main() { } }\n")
    assert execute(second).ran is None


COMPARED = [
    ("1", "1", True),
    ("1", "2", False),
    ("1", "1L", False),
    ("1", "1.0", False),
    ("0.1 + 0.2", "0.3", False),
    ("double.NaN", "double.NaN", True),
    ('"a"', '"a"', True),
    ('"a"', '"A"', False),
    ('""', "null", False),
    ("null", "null", True),
    ("null", "1", False),
    ("true", "true", True),
    ("new List<int> {1, 2}", "new List<int> {1, 2}", True),
    ("new List<int> {1, 2}", "new List<int> {2, 1}", False),
    ("new List<int> {1, 2}", "new List<int> {1}", False),
    ("new List<int> {}", "new List<int> {}", True),
    ("new List<int> {1}", "new int[] {1}", False),
    ("new List<int> {1}", "new List<object> {1}", False),
    ("new List<object> {1, \"a\", null}", "new List<object> {1, \"a\", null}", True),
    ("new List<object> {1}", "new List<object> {1.0}", False),
    ("new List<List<int>> {new List<int> {1}}", "new List<List<int>> {new List<int> {1}}", True),
    ("new List<List<int>> {new List<int> {1}}", "new List<List<int>> {new List<int> {2}}", False),
    ("new int[,] {{1, 2}, {3, 4}}", "new int[,] {{1, 2}, {3, 4}}", True),
    ("new int[,] {{1, 2}, {3, 4}}", "new int[,] {{1, 2, 3, 4}}", False),
    ("new Dictionary<string, int> {{\"a\", 1}}", "new Dictionary<string, int> {{\"a\", 1}}", True),
    ("new Dictionary<string, int> {{\"a\", 1}}", "new Dictionary<string, int> {{\"a\", 2}}", False),
    ("new Dictionary<string, int> {{\"a\", 1}}", "new Dictionary<string, int> {{\"b\", 1}}", False),
    ("new Dictionary<int, int> {{1, 2}, {3, 4}}", "new Dictionary<int, int> {{3, 4}, {1, 2}}", True),
    ("new Dictionary<int, int> {{1, 2}, {3, 4}}", "new Dictionary<int, int> {{3, 2}, {1, 4}}", False),
    ("new Dictionary<int, int> {{1, 2}, {3, 4}}", "new Dictionary<int, int> {{1, 2}}", False),
    ("new HashSet<int> {1, 2}", "new HashSet<int> {1, 2}", True),
    ("new HashSet<int> {1, 2}", "new HashSet<int> {1, 3}", False),
    ("Tuple.Create(1, \"a\")", "Tuple.Create(1, \"a\")", True),
    ("Tuple.Create(1, new List<int> {1})", "Tuple.Create(1, new List<int> {2})", False),
    ("(1, new List<int> {1})", "(1, new List<int> {1})", True),
    ("(1, 2)", "(1, 3)", False),
    ("new System.Numerics.BigInteger(3)", "new System.Numerics.BigInteger(5)", False),
    ("new DateTime(2000, 1, 1)", "new DateTime(2000, 1, 2)", False),
    ("new Node(1)", "new Node(1)", True),
    ("new Node(1)", "new Node(2)", False),
    ("Node.Ring(1)", "Node.Ring(1)", True),
    ("Node.Ring(1)", "Node.Ring(2)", False),
]  # fmt: skip


def test_csharp_values_are_compared_as_the_library_documents(execute):
    body = """
using System; using System.Collections.Generic; using KellermanSoftware.CompareNetObjects;
class Node {
    public int Value { get; set; } public Node Next; int hidden = new Random().Next();
    public Node(int value) { Value = value; hidden += value; }
    public static Node Ring(int last) { var a = new Node(0); a.Next = new Node(last) { Next = a }; return a; }
}
class Program {
    static void Is(object left, object right, bool equal, int number) {
        foreach (var pair in new[] { new[] { left, right }, new[] { right, left } }) {
            var result = new CompareLogic().Compare(pair[0], pair[1]);
            if (result.AreEqual != equal) throw new Exception(number + ": " + result.DifferencesString);
        }
    }
"""
    lines = "".join(f"Is({a}, {b}, {str(same).lower()}, {n});\n" for n, (a, b, same) in enumerate(COMPARED))
    code = Code("csharp", body, f"static void Main() {{\n{lines}}} }}\n", needs=("compare_net_objects",))
    execution = execute(code)
    assert execution.sentinel_seen, output(execution)
    assert execute(dataclasses.replace(code, needs=())).ran is None
