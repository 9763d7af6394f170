"""Checkpoints measured: one walk over them, one shared pass over each, and the instruments that read it."""
