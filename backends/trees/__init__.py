"""The tree engine: ensembles as flat arrays, and compiled kernels that score them."""

# Of the tables' form: what an older version wrote is not read. It is said here, where
# no compiled code is loaded, because compiled folders are named by it.
LAYOUT = 8
