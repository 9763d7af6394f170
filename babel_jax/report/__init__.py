"""Figures and one self-contained page from the findings of a study or of a probe; nothing is computed here."""

from babel_jax.report.folder import Report
from babel_jax.report.probe_folder import build as build_probe
from babel_jax.report.which_report import build

__all__ = ["Report", "build", "build_probe"]
