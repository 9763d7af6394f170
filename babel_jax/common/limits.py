"""The largest amounts that make sense: one place for arguments, configs, and what files of runs may hold."""

LARGEST_SEED = 2**32 - 1  # beyond, JAX takes several seeds for one
SEEDS = range(LARGEST_SEED + 1)
LARGEST_STEP = 10**12
MOST_TOKENS = 10**18  # of a corpus or a run, in any unit; sums and ratios of such amounts are still numbers
FEWEST_TOKENS = 1e-9
COUNTS = range(MOST_TOKENS + 1)  # of steps, rows or tokens
