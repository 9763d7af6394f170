"""Compiling a run's true train step and probe for hardware that is not here, and saying what they will cost there.

`python -m babel_jax compile --config=… --topology=v5p:4x4x4` answers before anything is paid for: does it fit, what goes
over the links, and which speed the hardware's limits allow. TPUs are compiled for by libtpu, without a TPU; `cpu:8` and
`gpu` by what is here.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from babel_jax.common.errors import UserError, one_line
from babel_jax.common.material import Shapes
from babel_jax.model import hlo, placement
from babel_jax.model.attention import splash_block
from babel_jax.model.chips import CHIPS, Chip
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.flops import flops_per_token
from babel_jax.model.sharding import BATCH, check_batch, make_mesh, row_devices, table
from babel_jax.model.taps import ACTIVE
from babel_jax.probes import forward
from babel_jax.training.config import decoder_config, validate
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

MOST_DEVICES = 1024  # of a CPU: each takes threads and memory of this process
MEMORY_KEPT = 2**28  # bytes of a TPU's memory that its runtime keeps for itself


def check_topology(topology: str) -> None:
    """Raises a `UserError` for what names no topology, or more devices than a process can pretend to have."""
    known = re.fullmatch(
        r"(cpu|gpu)(:(?P<count>[1-9][0-9]{0,3}))?|([1-9][0-9]{0,3}\*)?v[a-z0-9]+:[0-9]+(x[0-9]+)*", topology
    )
    if known is None or int(known["count"] or 1) > MOST_DEVICES:
        raise UserError(
            f"--topology is '{topology}'; write v5e:4x4, v5p:4x4x4, 2*v5e:16x16 (two slices), cpu:8 (at most {MOST_DEVICES}) or "
            "gpu."
        )


def devices_of(topology: str):
    """Devices to compile for: `v5e:4x4`, `2*v5e:16x16` (two slices), `cpu:8`, `gpu`.

    Raises:
      UserError: no such topology, or what compiles for it is not installed.
    """
    check_topology(topology)
    kind, _, shape = topology.partition(":")
    if kind in ("cpu", "gpu"):
        try:
            devices = jax.devices(kind)
        except RuntimeError as error:
            raise UserError(f"there is no {kind} here to compile for ({one_line(error)}).") from error
        count = int(shape) if shape else len(devices)
        if len(devices) < count:
            raise UserError(f"--topology={topology} needs {count} devices and there are {len(devices)}.")
        return devices[:count]
    slices, _, name = topology.rpartition("*")
    from jax.experimental import topologies

    options = {"num_slices": int(slices)} if slices else {}
    if name.startswith("v4"):
        options["chip_config_name"] = "megacore"  # a chip's two cores are one device, as on a TPU VM
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
    except (RuntimeError, ValueError, NotImplementedError) as error:  # from libtpu, or because there is none
        version = jax.__version__
        raise UserError(
            f"cannot compile for '{topology}' ({one_line(error)}); topologies are written v5e:4x4 or v5p:4x4x4, and "
            f"libtpu comes with `pip install 'jax[tpu]=={version}'`."
        ) from error


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled. Of one device: model_flops, what a pass costs by the model's shape, and state_bytes, by part.

    table: which array lies where; "" where that is not shown.
    """

    what: str
    model: DecoderConfig
    tokens: int
    model_flops: float
    state_bytes: Mapping[str, int]
    table: str = ""


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What is compiled for. chip: None where it is not known."""

    devices: int
    kind: str
    slices: int
    chip: Chip | None
    kept_bytes: int

    @classmethod
    def of(cls, devices) -> "Hardware":
        first = devices[0]
        slices = len({getattr(device, "slice_index", 0) for device in devices})
        kept_bytes = MEMORY_KEPT if first.platform == "tpu" else 0
        return cls(len(devices), first.device_kind, slices, CHIPS.get(first.device_kind), kept_bytes)

    @property
    def memory_limit(self) -> int | None:
        """Bytes that a program may use of a device."""
        return self.chip and self.chip.memory_bytes - self.kept_bytes


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What a compiled program needs and moves on each device. text: of its HLO."""

    temporary_bytes: int
    peak_bytes: int
    moved_bytes: float
    collectives: list[hlo.Collective]
    text: str


@dataclasses.dataclass(frozen=True)
class Roofline:
    """The seconds that a device's peaks ask for, by what is limited; MFU if all of it overlaps, and if nothing does."""

    seconds: Mapping[str, float]
    mfu: float
    mfu_without_overlap: float

    @property
    def step_seconds(self) -> float:
        """The least time that the peaks allow, if everything overlaps."""
        return max(self.seconds.values())


@dataclasses.dataclass(frozen=True)
class Report:
    """What a program needs and does on each device. flops: that it executes. compiled: None where an `obstacle` stood."""

    program: Program
    hardware: Hardware
    flops: float
    compiled: Compiled | None
    obstacle: str = ""

    @property
    def fits(self) -> bool:
        limit = self.hardware.memory_limit
        return self.compiled is not None and (limit is None or self.compiled.peak_bytes <= limit)

    @functools.cached_property
    def roofline(self) -> Roofline | None:
        """None where the chip is not known, or nothing was compiled."""
        chip = self.hardware.chip
        if chip is None or self.compiled is None:
            return None
        sent = sum(one.sent(self.hardware.devices) for one in self.compiled.collectives)
        seconds = {
            "compute": self.flops / chip.peak_bf16_flops,
            "memory": self.compiled.moved_bytes / chip.memory_bandwidth,
            "links": sent / chip.link_bandwidth,
        }
        useful = self.program.model_flops / chip.peak_bf16_flops
        return Roofline(seconds, useful / max(seconds.values()), useful / sum(seconds.values()))


def compile_step(config, shapes: Shapes, devices) -> Report:
    """Compiles a run's train step for `devices`.

    Args:
      config: a run's config.
      shapes: of its material.
    """
    validate(config)
    mesh = make_mesh(**config.mesh.to_dict(), devices=devices)
    check_batch(mesh, config.batch_size, config.accumulation)
    model = _model(config, shapes, devices)
    trainer = make_trainer(model, static_settings(config.optimizer), shapes.document_end, mesh, config.accumulation)
    everywhere = NamedSharding(mesh, P())
    batch = jax.ShapeDtypeStruct(
        (config.batch_size, model.max_length + 1), jnp.int32, sharding=NamedSharding(mesh, BATCH)
    )
    weights = jax.ShapeDtypeStruct((model.vocab_size,), jnp.float32, sharding=everywhere)
    names = ("learning_rate", "label_smoothing", "spike_factor")
    hyper = {name: jax.ShapeDtypeStruct((), jnp.float32, sharding=everywhere) for name in names}
    state = trainer.abstract_state
    tokens = config.batch_size * model.max_length
    program = Program(
        "train step",
        model,
        tokens,
        model_flops=flops_per_token(model) * tokens / len(devices),
        state_bytes={name: bytes_on_device(state[name]) for name in state},
        table=table(mesh, state),
    )
    return _compile(program, trainer.step, (state, batch, weights, hyper), devices)


def compile_probe(config, shapes: Shapes, devices) -> Report:
    """Compiles the one pass of all probes, in two languages, for `devices`, on the run's mesh; as `compile_step`."""
    mesh = make_mesh(**config.mesh.to_dict(), devices=devices)
    model = _model(config, shapes, devices)
    params = placement.abstract_params(model, mesh)
    rows, everywhere = NamedSharding(mesh, BATCH), NamedSharding(mesh, P())
    batch_rows = math.lcm(placement.BATCH_ROWS[False], row_devices(mesh))
    counters, batch = forward.input_shapes(model, 2, batch_rows)
    place = forward.counter_shardings(everywhere)
    counters = {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=place[name]) for name, (shape, dtype) in counters.items()
    }
    batch = {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=rows if shape else everywhere)
        for name, (shape, dtype) in batch.items()
    }
    function = forward.jitted_pass(model, shapes.document_end, (), everywhere, ACTIVE[0])
    tokens = batch_rows * model.max_length
    forward_flops = flops_per_token(model) / 3 * tokens / len(devices)
    program = Program("probe", model, tokens, forward_flops, {"params": bytes_on_device(params)})
    return _compile(program, function, (params, counters, batch), devices)


def _model(config, shapes: Shapes, devices) -> DecoderConfig:
    sizes = (shapes.vocab_size, shapes.max_length, shapes.frozen_rows)
    return decoder_config(config, *sizes, devices[0].platform)


def bytes_on_device(tree) -> int:
    """Of the arrays of a tree, concrete or abstract, that each device holds."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _compile(program: Program, function, arguments, devices) -> Report:
    traced = function.trace(*arguments)
    window = max(program.model.windows)  # kernels have the same one in all layers
    flops, hardware = executed_flops(traced.jaxpr.jaxpr, len(devices), window), Hardware.of(devices)
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Report(program, hardware, flops, None, obstacle=_first_line(error))
    memory, text = compiled.memory_analysis(), compiled.as_text()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak_bytes = held + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    moved = hlo.memory_bytes(text)
    needs = Compiled(memory.temp_size_in_bytes, peak_bytes, moved, hlo.collectives(text), text)
    return Report(program, hardware, flops, needs)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def executed_flops(jaxpr, devices: int, window: int = 0) -> float:
    """Operations of all matrix products that one device executes, loops and rematerialisation counted as often as they run.

    What stands outside `shard_map` is taken to be split evenly; attention kernels, whose window is given (0: none), count the
    blocks that they visit.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            inner = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2 * inner * equation.outvars[0].aval.size / devices
        elif name == "pallas_call":
            total += _kernel_flops(equation, window) / devices
        else:
            times = params["length"] if name == "scan" else 1
            inside = devices if name != "shard_map" else 1  # shapes in a shard_map are one device's own
            for value in params.values():
                for inner in value if isinstance(value, tuple | list) else (value,):
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        total += times * executed_flops(inner, inside, window)
    return total


def _kernel_flops(equation, window: int) -> float:
    """Of a splash attention kernel: two products forward, five backward, in the blocks that hold pairs that see each other."""
    *batch, T, H = max((each.aval.shape for each in equation.invars), key=math.prod)  # of queries, whatever the keys
    block = splash_block(T)
    blocks = T // block
    # The nearest pair of a block that lies d below the diagonal is (d - 1) * block + 1 apart.
    below = min(blocks - 1, (window - 2) // block + 1) if window else blocks - 1
    visited = sum(blocks - d for d in range(below + 1))
    products = 2 if "fwd" in equation.params["name"] else 5
    return products * 2 * math.prod(batch) * visited * block * block * H


def describe(report: Report) -> str:
    """The report for people: memory, work and traffic of one device, collectives by kind and size, the roofline."""
    program, hardware, compiled = report.program, report.hardware, report.compiled
    model, limit = program.model, hardware.memory_limit
    lines = [
        f"{program.what}: {hardware.devices} x {hardware.kind}, {program.tokens:,} tokens, attention "
        f"{model.attention}, remat {model.remat}, {model.dtype}"
    ]
    if compiled is None:
        return "\n".join([*lines, f"  does not fit: {report.obstacle}"])
    rows = [(name, _gigabytes(size)) for name, size in program.state_bytes.items() if size >= 1e6]
    rows += [("temporaries", _gigabytes(compiled.temporary_bytes) + "  activations, gradients, gathered parameters")]
    share = f"  {compiled.peak_bytes / limit:.0%} of {_gigabytes(limit).strip()}" if limit else ""
    rows += [("peak", _gigabytes(compiled.peak_bytes) + share)]
    rows += [("work", f"{report.flops / 1e12:9.2f} TFLOP executed, {program.model_flops / 1e12:.2f} of the model")]
    rows += [("memory moved", _gigabytes(compiled.moved_bytes))]
    lines.append("  a device:")
    lines += [f"    {name:14s} {value}" for name, value in rows]
    lines.append("  collectives of a device:        times   bytes of one      sent in all")
    for (kind, shape), (times, size, sent) in _by_kind(compiled.collectives, hardware.devices).items():
        lines.append(f"    {kind:19s} {times:10,d} {size / 1e6:12,.1f} MB {sent / 1e9:12,.2f} GB  {shape[:60]}")
    return "\n".join([*lines, *_roofline_lines(report)])


def _roofline_lines(report: Report) -> list[str]:
    roofline = report.roofline
    if roofline is None:
        return []
    parts = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in roofline.seconds.items())
    lines = [f"  roofline: {parts}"]
    if report.hardware.slices > 1:
        lines.append(
            "  what goes between slices is counted as if it went over the chips' links; their network is slower"
        )
    seconds = roofline.step_seconds
    lines.append(
        f"  at best {seconds:.3f} s, {report.program.tokens / seconds:,.0f} tokens/s, MFU "
        f"{roofline.mfu:.0%}; {roofline.mfu_without_overlap:.0%} if nothing overlapped"
    )
    return lines


def _by_kind(collectives: list[hlo.Collective], devices: int) -> dict:
    """{(kind, shape): (times, bytes of one, bytes sent in all)}, the dearest first; what is tiny is one line a kind."""
    kinds: dict = {}
    for one in collectives:
        key = (one.kind, one.shape if one.bytes >= 1e6 else "small")
        times, size, sent = kinds.get(key, (0, 0.0, 0.0))
        kinds[key] = (times + one.times, max(size, one.bytes), sent + one.sent(devices))
    return dict(sorted(kinds.items(), key=lambda item: -item[1][2]))


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:9.2f} GB"
