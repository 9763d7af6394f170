"""babel_jax in a notebook: open this file in VS Code or Jupyter, cell by cell, or run it as it stands.

The first cells read the last checkpoint of the smallest study, which is made within minutes on a laptop:

    python -m babel_jax study --config=configs/organism.py:tiny --workdir=runs/tiny
"""

# %% A model: a run. A Hugging Face folder will do, too, and OWNER/NAME@REVISION of the hub.
import pandas as pd

import babel_jax

RUN = "runs/tiny/seed0/continual"
model = babel_jax.load(RUN)
model

# %% All probes at once, over the texts of the study that the run belongs to.
result = babel_jax.probe(model)
result.plot()

# %% What is drawn, and all else that was measured, are data frames.
result.working_language.pivot_table(index=["language", "layer"], columns="metric", values="value")

# %%
result.losses

# %% The neurons that are specific to the new language, and the model without them.
found = babel_jax.neurons(result, language="php")
without = babel_jax.ablate(model, found)
without.losses(result) - model.losses(result)

# %% The same with the mean value of each instead of 0; and how random sets of as many neurons compare.
babel_jax.ablate(model, found, "mean", result).losses(result)

# %%
babel_jax.probe(model, texts=result, interventions=("zero",)).causes

# %% Earlier checkpoints: the course of a number, and the last one with the FFNs of the first.
course = {step: babel_jax.load(RUN, step).losses(result)["loss"] for step in babel_jax.steps(RUN)}
pd.DataFrame(course).T

# %%
babel_jax.patch(model, babel_jax.load(RUN, step=0), "blocks/ffn_").losses(result)

# %% A public model on texts of your own: folders of source files, read with its own tokenizer.
public = babel_jax.load("HuggingFaceTB/SmolLM2-135M")
read = babel_jax.probe(public, texts={"python": "my_python", "php": "my_php"}, rows=32, row_tokens=256)
read.plot()

# %%
public.generate("def add(a, b):\n")
