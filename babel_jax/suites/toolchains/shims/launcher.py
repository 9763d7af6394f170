"""Runs a Python program, then its tests, then writes the sentinel: launcher.py PROGRAM LENGTH DECLARED SENTINEL

The first LENGTH characters of PROGRAM are the program, the others its tests; DECLARED are names, joined by commas, that the
suite expects the program to define. Both parts are compiled by themselves and as UTF-8, whatever a coding line says, before
either runs: the program can neither swallow the tests nor decorate them.

The tests have names of their own. The name of a builtin means in them what it meant before the program ran, unless the
suite expects the program to define it. A comparison in them fails where a class of the program's own decides it for a value
of another class, and arithmetic likewise. And nothing can be traced, so that no line can be jumped over; to end tracing, as
doctest does, is no harm.
"""

import _ast
import _collections
import _operator
import _weakref
import builtins
import gc
import posix
import sys

__builtins__ = dict(vars(builtins))  # what the functions below find, whatever the program does to the module

PATH, LENGTH, DECLARED, SENTINEL = sys.argv[1:]
DECLARED = set(DECLARED.split(","))
LIBRARY = (sys.base_prefix + "/lib/", "<frozen ")
NOT_LIBRARY = ("/unittest/", "/test/", "-packages/")  # mock.ANY and support.ALWAYS_EQ equal everything
COMPARED = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__")
ARITHMETIC = {
    "Add": _operator.add,
    "Sub": _operator.sub,
    "Mult": _operator.mul,
    "Div": _operator.truediv,
    "FloorDiv": _operator.floordiv,
    "Mod": _operator.mod,
    "Pow": _operator.pow,
    "MatMult": _operator.matmul,
    "BitAnd": _operator.and_,
    "BitOr": _operator.or_,
    "BitXor": _operator.xor,
    "LShift": _operator.lshift,
    "RShift": _operator.rshift,
}
COMPUTED = [f"__{mark}{function.__name__.strip('_')}__" for function in ARITHMETIC.values() for mark in ("", "r")]
OPERATIONS = {
    "Eq": _operator.eq,
    "NotEq": _operator.ne,
    "Lt": _operator.lt,
    "LtE": _operator.le,
    "Gt": _operator.gt,
    "GtE": _operator.ge,
    "In": lambda one, others: one in others,
    "NotIn": lambda one, others: one not in others,
    "Is": _operator.is_,
    "IsNot": _operator.is_not,
}
OPPOSITE = {"NotEq": "Eq", "NotIn": "In"}
DECIDE, COMPUTE = "how two values compare", "what two values make"  # no identifiers, so no program's
PLAIN = {int, float, complex, str, bytes, bool, type(None)}
ORDERED = (list, tuple, _collections.deque)
HASHED = (set, frozenset, dict, type({}.keys()), type({}.values()), type({}.items()))
DELEGATES = (_weakref.ProxyType, _weakref.CallableProxyType)  # they compare as what is behind them
SLOTS = (type(int.__eq__), type(dict.__contains__))
members_of, bases_of = type.__dict__["__dict__"].__get__, type.__dict__["__mro__"].__get__  # whatever a metaclass says
module = type(sys)("__main__")
program, tests = vars(module), {}
write, show, referents = posix.write, sys.excepthook, gc.get_referents


class Names(dict):
    """What the tests find beyond their own names: the builtins as they were, then the program's names as they are."""

    def __missing__(self, name):
        return program[name] if name in program else __builtins__[name]


class Defined:
    """Where names that the tests define go: among the tests' own, and where the program finds them too."""

    def __getitem__(self, name):
        return tests[name]

    def __setitem__(self, name, value):
        tests[name] = program[name] = value

    def __delitem__(self, name):
        del tests[name]
        program.pop(name, None)


def own(kind, what=COMPARED):
    """Whether objects of a class compare as the program says, though the suite does not expect the class from it."""
    if kind in DELEGATES:
        return True
    for base in bases_of(kind):
        methods = members_of(base)
        for name, method in [(name, methods[name]) for name in what if name in methods]:
            if type(method) in SLOTS:
                known = method.__objclass__ is base
            elif type(method) is type(own):
                place = method.__code__.co_filename
                known = place.startswith(LIBRARY) and not any(part in place for part in NOT_LIBRARY)
                known = known and method.__code__.co_name in (name, "forward", "reverse")  # the latter: of Fraction
            else:
                known = method is None
            if not known and base.__name__ not in DECLARED:
                return True
    return False


def items(value, kinds):
    """What a builtin collection of one of these kinds holds, None for others."""
    for kind in kinds:
        if kind in bases_of(type(value)):
            return list(kind.__iter__(value))
    return None


def strange(value, seen=()):
    """The classes of the program's own in a value, `seen`: the values that it is in."""
    if type(value) in PLAIN or any(value is outer for outer in seen):
        return set()
    found, inside = {type(value)} if own(type(value)) else set(), items(value, ORDERED + HASHED)
    if inside is None and not found and any("__eq__" in members_of(base) for base in bases_of(type(value))[:-1]):
        # what a class of the library compares by: the list in a UserList, the numbers of a Fraction, the ends of a slice
        inside = [item for item in referents(value) if not isinstance(item, (type, type(sys), type(own)))]
    if inside and dict in bases_of(type(value)):
        inside += dict.values(value)
    if not inside or PLAIN.issuperset(map(type, inside)):
        return found
    return found.union(*[strange(item, (*seen, value)) for item in inside])


def honest(one, other):
    """Whether it was no class of the program's own that found two values, or values in them, equal or in order."""
    kinds = {type(one), type(other)}
    if kinds <= PLAIN:
        return True
    if len(kinds) == 2 and any(map(own, kinds)):
        return False
    ordered = items(one, ORDERED), items(other, ORDERED)
    if None not in ordered:
        return PLAIN.issuperset({*map(type, ordered[0]), *map(type, ordered[1])}) or all(map(honest, *ordered))
    keys = items(one, [dict]), items(other, [dict])
    if None not in keys and not all(honest(dict.get(one, key), dict.get(other, key)) for key in keys[0]):
        return False
    return strange(one) == strange(other)


def holds(name, one, other):
    """Whether a comparison that has come out true counts."""
    if name in ("Is", "IsNot") or (name == "NotEq" and other is None):
        return True
    inside = items(other, ORDERED + HASHED) if name == "In" else None
    if inside is None:
        return not own(type(other)) if name in ("In", "NotIn") else honest(one, other)
    if not any(map(own, {type(one), *map(type, inside)})):
        return True
    return any((one is item or one == item) and honest(one, item) for item in inside)


def decide(names, one, *others):
    """What stands in the tests for `one == other` and for chains of comparisons."""
    for name, other in zip(names.split(), others):  # noqa: B905, an older Python may judge
        result = OPERATIONS[name](one, other)
        if result:
            if not holds(name, one, other):
                return False
        elif name not in OPPOSITE or holds(OPPOSITE[name], one, other):
            return result
        else:
            result = True
        one = other
    return result


def compute(name, one, other):
    """What stands in the tests for `one - other` and the like."""
    if type(one) is not type(other) and (own(type(one), COMPUTED) or own(type(other), COMPUTED)):
        raise AssertionError("a class of the program's own would compute what the tests compare")
    return ARITHMETIC[name](one, other)


def guarded(node):
    """A syntax tree in which `decide` compares and `compute` computes."""
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, list):
            value[:] = [guarded(item) if isinstance(item, _ast.AST) else item for item in value]
        elif isinstance(value, _ast.AST):
            setattr(node, field, guarded(value))
    if not isinstance(node, (_ast.Compare, _ast.BinOp)):
        return node
    place = {name: getattr(node, name) for name in node._attributes}
    if isinstance(node, _ast.Compare):
        name, operations, values = DECIDE, node.ops, [node.left, *node.comparators]
    else:
        name, operations, values = COMPUTE, [node.op], [node.left, node.right]
    names = _ast.Constant(" ".join(type(operation).__name__ for operation in operations), **place)
    return _ast.Call(_ast.Name(name, _ast.Load(), **place), [names, *values], [], **place)


def refuse_tracing(event, arguments):
    if event in ("sys.settrace", "sys.monitoring.register_callback"):
        raise RuntimeError("a program that is judged cannot be traced")


def ending_only(trace):
    """`sys.settrace` where nothing is traced: to ask for that has no effect, and is not refused."""
    return lambda function: function if function is None else trace(function)


def compiled():
    """The code of the program and of its tests."""
    with open(PATH, encoding="utf-8", newline="") as file:
        text = file.read()
    body, tail = text[: int(LENGTH)], text[int(LENGTH) :]
    tree = compile("\n" * body.count("\n") + tail, PATH, "exec", 0x400, True)  # PyCF_ONLY_AST
    return compile(body.removeprefix("\ufeff"), PATH, "exec", 0, True), compile(guarded(tree), PATH, "exec", 0, True)


def launch():
    try:
        code, code_of_tests = compiled()
    except SyntaxError as error:
        show(type(error), error.with_traceback(None), None)  # as Python does where a program does not begin
        return 1
    names = Names({name: value for name, value in __builtins__.items() if name not in DECLARED})
    names[DECIDE], names[COMPUTE] = decide, compute
    program.update(__builtins__=builtins, __file__=PATH)
    tests.update(__builtins__=names, __name__="__main__", __file__=PATH)
    sys.modules["__main__"] = module
    sys.argv[:] = [PATH]
    sys.addaudithook(refuse_tracing)
    sys.settrace = ending_only(sys.settrace)
    sys.setrecursionlimit(sys.getrecursionlimit() + 2)  # the program has as much as without the frames of this file
    exec(code, program)
    exec(code_of_tests, tests, Defined())
    write(2, b"\n%b\n" % SENTINEL.encode())
    return 0


if __name__ == "__main__" and (status := launch()):
    sys.exit(status)
