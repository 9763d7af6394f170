"""babel_jax: watch a language model learn new languages, and turn what is seen into a better corpus."""

__version__ = "0.1.0"
