"""What accelerators can do, by the `device_kind` that JAX gives them: the one table of peaks, memories and links.

Numbers are per JAX device: a TPU7x chip shows as two devices, so its row holds half a chip; a TPU v4 or v5p chip shows as
one (megacore). Names are matched exactly, because a PCIe card of the same family is a slower one: an unknown name has no
row, and what needs one is then not reported rather than wrong.

Sources: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x}, which give capacity in GiB (also where they say GB) and
the links of a chip summed over both directions; NVIDIA's data sheets of A100, H100 and H200, whose bf16 peaks are
quoted with sparsity: here the dense half.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peaks of one device. `link_bandwidth`: what it can send to its neighbours over all its links together."""

    peak_bf16_flops: float  # dense multiply-adds count as two, per second
    memory_bytes: int  # nominal; driver and runtime keep some of it
    memory_bandwidth: float  # bytes per second
    link_bandwidth: float  # bytes per second, one direction (half of what data sheets call bidirectional)


GIB = 2**30

_V4 = Chip(275e12, 32 * GIB, 1228e9, 300e9)  # links: 6 x 50 GB/s a direction (arXiv:2304.01433, section 2)
_V5E = Chip(197e12, 16 * GIB, 819e9, 200e9)
_V5P = Chip(459e12, 95 * GIB, 2765e9, 600e9)
_V6E = Chip(918e12, 32 * GIB, 1638e9, 400e9)
_TPU7X = Chip(2307e12 / 2, 96 * GIB, 7380e9 / 2, 600e9 / 2)

CHIPS: dict[str, Chip] = {
    "TPU v4": _V4,
    "TPU v5 lite": _V5E,
    "TPU v5e": _V5E,
    "TPU v5": _V5P,
    "TPU v5p": _V5P,
    "TPU v6 lite": _V6E,
    "TPU v6e": _V6E,
    "TPU7x": _TPU7X,
    "NVIDIA A100-SXM4-40GB": Chip(312e12, 40 * GIB, 1555e9, 300e9),
    "NVIDIA A100-SXM4-80GB": Chip(312e12, 80 * GIB, 2039e9, 300e9),
    "NVIDIA H100 80GB HBM3": Chip(989e12, 80 * GIB, 3350e9, 450e9),  # SXM5; the PCIe and NVL cards have other names
    "NVIDIA H200": Chip(989e12, 141 * GIB, 4800e9, 450e9),  # SXM5; "NVIDIA H200 NVL" is another
}
