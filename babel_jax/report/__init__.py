"""Figures and one self-contained page from the measurements of a study; nothing is computed here."""

from babel_jax.report.page import build
from babel_jax.report.summary import terminal_table

__all__ = ["build", "terminal_table"]
