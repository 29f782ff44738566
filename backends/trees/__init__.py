"""The tree engine: ensembles as flat arrays, and compiled kernels that score them."""
