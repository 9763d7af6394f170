"""Source files -> token rows: sources, cleaning, tokenizer, rows, staged mixtures, and prompts from real call sites."""
