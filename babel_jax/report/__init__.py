"""Figures and one self-contained page from the findings of a study; nothing is computed here."""

from babel_jax.report.folder import Report, build

__all__ = ["Report", "build"]
