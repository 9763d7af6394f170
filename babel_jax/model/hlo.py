"""What a compiled program does on one device, read from its text: collectives, bytes moved, how often each loop turns.

XLA's own cost analysis counts the body of a loop once; a model whose layers and micro-batches are loops then looks a
hundred times too cheap. Here every instruction counts as often as it runs.
"""

import dataclasses
import math
import re
from collections import defaultdict

ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
ITEM_BYTES |= {"s64": 8, "u64": 8, "f64": 8, "s4": 0.5, "u4": 0.5, "f8e4m3fn": 1, "f8e5m2": 1, "c64": 8, "c128": 16}
COLLECTIVES = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
NOT_MEMORY = (  # they name values, or hold other instructions
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all"),
    *("iota", "partition-id", "replica-id", "copy-done", "opt-barrier", "add-dependency"),
)

_HEADER = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$")
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    shape: str  # its text, with layouts
    kind: str
    rest: str  # operands and attributes
    root: bool

    @property
    def operands(self) -> list[str]:
        depth = 1
        for end, letter in enumerate(self.rest):
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return re.findall(r"%([\w.-]+)", self.rest[:end])
        raise ValueError(f"the operands of {self.name} have no end.")

    def attribute(self, name: str) -> str | None:
        match = re.search(rf"\b{name}=%?([\w.-]+)", self.rest)
        return match.group(1) if match else None


def shape_bytes(shape: str, memory_only: bool = False) -> float:
    """Bytes of a shape's arrays; `memory_only`: without those that lie in a memory space of the chip itself, S(1) and up."""
    total = 0.0
    for kind, dimensions, layout in _SHAPE.findall(shape):
        if kind in ITEM_BYTES and not (memory_only and "S(" in (layout or "")):
            total += ITEM_BYTES[kind] * math.prod(int(size) for size in dimensions.split(",") if size)
    return total


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Computations by name, and the name of the entry."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = computations.setdefault(header.group(2), [])
            entry = header.group(2) if header.group(1) else entry
        elif line.rstrip() == "}":
            current = None
        elif current is not None and (match := _INSTRUCTION.match(line)):  # other lines go on with a long attribute
            root, name, shape, kind, rest = match.groups()
            current.append(Instruction(name, shape, kind, rest, bool(root)))
    if not entry:
        raise ValueError("this is not the text of a compiled program: it has no ENTRY.")
    return computations, entry


def _trips(loop: Instruction, computations: dict) -> int:
    """How often a while loop turns: as XLA says, or from its counter: compared with a constant, grown by a constant."""
    if known := re.search(r'known_trip_count"?:\s*\{"?n"?:\s*"?(\d+)', loop.rest):
        return int(known.group(1))
    condition = {each.name: each for each in computations[loop.attribute("condition")]}
    body = {each.name: each for each in computations[loop.attribute("body")]}
    try:
        compare = next(each for each in condition.values() if each.root)
        limit, counter = [  # a list: in a generator a StopIteration would become another error
            next(each for each in condition.values() if each.name in compare.operands and each.kind == kind)
            for kind in ("constant", "get-tuple-element")
        ]
        index = re.search(r"index=(\d+)", counter.rest).group(1)
        grown = body[next(each for each in body.values() if each.root).operands[int(index)]]
        while grown.kind in ("copy", "bitcast"):
            grown = body[grown.operands[0]]
        steps = [int(body[name].rest.split(")")[0]) for name in grown.operands if body[name].kind == "constant"]
        before = [body[name] for name in grown.operands if body[name].kind == "add"]
        if before:  # an unrolled loop counts in several additions
            constants = [body[name] for name in before[0].operands if body[name].kind == "constant"]
            steps += [int(each.rest.split(")")[0]) for each in constants]
        return -(-int(limit.rest.split(")")[0]) // sum(steps))
    except (StopIteration, AttributeError, KeyError, ZeroDivisionError) as error:
        raise ValueError(f"the loop {loop.name} is not a counter < constant, so its turns are unknown.") from error


def times_run(computations: dict, entry: str) -> tuple[dict[str, int], set[str]]:
    """How often each computation runs in one call of the program, and which of them are the insides of fusions."""
    times: dict[str, int] = defaultdict(int)
    fused: set[str] = set()

    def visit(name: str, factor: int, inside: bool):
        times[name] += factor
        if inside:
            fused.add(name)
        for each in computations[name]:
            if each.kind == "while":
                turns = _trips(each, computations)
                visit(each.attribute("body"), factor * turns, inside)
                visit(each.attribute("condition"), factor * (turns + 1), inside)
            elif each.kind == "conditional":
                for branch in re.findall(r"%([\w.-]+)", each.rest[each.rest.find("computations=") :].split("}")[0]):
                    visit(branch, factor, inside)
            elif each.kind in ("fusion", "call", "async-start") and each.attribute("calls"):
                visit(each.attribute("calls"), factor, inside or each.kind == "fusion")
            elif each.kind == "call" and each.attribute("to_apply"):
                visit(each.attribute("to_apply"), factor, inside)

    visit(entry, 1, False)
    return dict(times), fused


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective of the program: what one device holds of its result (reduce-scatter: of its operand), and how often."""

    kind: str
    shape: str
    bytes: float
    group: int  # devices that take part; 0: not said (all)
    times: int
    source: str  # the operation of the model that it serves

    def sent(self, devices: int) -> float:
        """Bytes that one device sends in all: ring algorithms; a permute sends what it holds."""
        n = self.group or devices
        factor = {"all-reduce": 2.0, "collective-permute": n / (n - 1)}.get(self.kind, 1.0) if n > 1 else 0.0
        return self.times * self.bytes * factor * (n - 1) / max(n, 1)


def collectives(text: str) -> list[Collective]:
    """All collectives that a program runs. One that is started, carried on and ended in several fusions counts once."""
    computations, entry = parse(text)
    times, _ = times_run(computations, entry)
    by_instruction: dict[tuple, Collective] = {}
    for name, count in times.items():
        by_name = {each.name: each for each in computations[name]}
        for each in computations[name]:
            kind = each.kind.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            operands = " ".join(by_name[operand].shape for operand in each.operands if operand in by_name)
            # An asynchronous one holds its operand beside its result; a reduce-scatter sends what it reads.
            shape = operands if kind in ("reduce-scatter", "all-reduce", "collective-permute") else each.shape
            if each.kind == "all-gather-start":
                shape = _SHAPE.sub("", each.shape, count=1)
            source = re.search(r'op_name="([^"]*)"', each.rest)
            size, group = shape_bytes(shape), _group_size(each.rest)
            one = Collective(kind, _plain(shape), size, group, count, source.group(1) if source else "")
            chained = re.search(r'chain_id="?(\d+)', each.rest)
            channel = re.search(r"channel_id=(\d+)", each.rest)
            key = ("chain", channel.group(1)) if chained and channel else (name, each.name)
            if key not in by_instruction or by_instruction[key].times < count:
                by_instruction[key] = one
    return list(by_instruction.values())


def _plain(shape: str) -> str:
    return ", ".join(f"{kind}[{dimensions}]" for kind, dimensions, _ in _SHAPE.findall(shape) if kind in ITEM_BYTES)


def _group_size(rest: str) -> int:
    if match := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return len(match.group(1).split(","))
    if match := re.search(r"replica_groups=\[(\d+),(\d+)\]", rest):
        return int(match.group(2))
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", rest):
        sizes = dict(re.findall(r"'([\w.]+)'=(\d+)", match.group(1)))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([\w.]+)'", match.group(2)))
    return 0


def memory_bytes(text: str) -> float:
    """Bytes that a program reads from and writes to the device's main memory in one call, every loop turn counted.

    An instruction reads its operands and writes its result once; a fusion that only slices an operand, or only writes a
    slice of its result in place, moves the slice. What lies in on-chip memory moves nothing.
    """
    computations, entry = parse(text)
    times, fused = times_run(computations, entry)
    total = 0.0
    for name, count in times.items():
        if name not in fused:
            shapes = {each.name: each.shape for each in computations[name]}
            total += count * sum(_moved(each, shapes, computations) for each in computations[name])
    return total


def _moved(each: Instruction, shapes: dict[str, str], computations: dict) -> float:
    if each.kind in NOT_MEMORY or each.kind.endswith("-done"):
        return 0.0
    operands = [shapes.get(name, "") for name in each.operands]
    if each.kind == "dynamic-slice":
        return 2 * shape_bytes(each.shape, True)
    if each.kind == "dynamic-update-slice":
        return 2 * shape_bytes(operands[1], True)
    if each.kind == "fusion" and each.attribute("calls") in computations:
        return _moved_by_fusion(each, operands, computations)
    return shape_bytes(each.shape, True) + sum(shape_bytes(shape, True) for shape in operands)


def _moved_by_fusion(fusion: Instruction, operands: list[str], computations: dict) -> float:
    inside = computations[fusion.attribute("calls")]
    parameters = [each for each in inside if each.kind == "parameter"]
    total = 0.0
    for each in parameters:
        index = int(each.rest.split(")")[0])
        if index >= len(operands) or "S(" not in operands[index]:
            total += _read(each, inside, computations)
    by_name = {each.name: each for each in inside}
    root = next(each for each in inside if each.root)
    written = root.operands if root.kind == "tuple" else [root.name]
    for name, shape in zip(written, _parts(fusion.shape, len(written)), strict=True):
        each = by_name[name]
        while each.kind in ("bitcast", "convert", "copy", "get-tuple-element") and each.operands:
            each = by_name[each.operands[0]]
        if each.kind == "dynamic-update-slice":
            total += 0.0 if "S(" in shape else shape_bytes(by_name[each.operands[1]].shape)
        elif each.kind != "parameter" and not _is_passed_on(each):
            total += shape_bytes(shape, True)
    return total


def _is_passed_on(each: Instruction) -> bool:
    """A collective that is under way while a fusion computes: its buffers are the collective's traffic, not the fusion's."""
    return each.kind == "custom-call" and "AsyncCollective" in each.rest or each.kind in COLLECTIVES


def _parts(shape: str, count: int) -> list[str]:
    shapes = [match.group(0) for match in _SHAPE.finditer(shape)]
    return shapes if len(shapes) == count else [shape] + [""] * (count - 1)


def _read(parameter: Instruction, inside: list[Instruction], computations: dict) -> float:
    """Bytes of a parameter that the instructions of its computation read."""
    whole = shape_bytes(parameter.shape)
    read = 0.0
    for user in inside:
        if parameter.name not in user.operands or _is_passed_on(user) or user.kind == "tuple":
            continue
        if user.kind == "dynamic-slice":
            read += shape_bytes(user.shape)
        elif user.kind == "fusion":  # a fusion within the fusion
            nested = computations[user.attribute("calls")]
            mine = [n for n, operand in enumerate(user.operands) if operand == parameter.name]
            read += sum(
                _read(each, nested, computations)
                for each in nested
                if each.kind == "parameter" and int(each.rest.split(")")[0]) in mine
            )
        elif not (user.kind == "dynamic-update-slice" and user.operands[0] == parameter.name):  # that one is in place
            return whole
    return min(read, whole)
