"""What the measurements say about the hypothesis: curves, stages, knowledge share."""

from babel_jax.evolution.continual import curves

__all__ = ["curves"]
