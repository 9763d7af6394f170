"""babel_jax: watch a language model learn new languages, and turn what is seen into a better corpus.

In a notebook: `load` a model from anywhere, `probe` it with texts, single out `neurons`, `ablate` them, `patch` its parameters
(`report/notebook.py`). All of this is imported when it is first asked for, so that the package itself is imported at once.
"""

__version__ = "0.1.0"
NOTEBOOK = ("LoadedModel", "ablate", "load", "neurons", "patch", "probe", "steps")


def __getattr__(name: str):
    import importlib

    if name in NOTEBOOK:
        return getattr(importlib.import_module("babel_jax.report.notebook"), name)
    raise AttributeError(f"module 'babel_jax' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *NOTEBOOK})
