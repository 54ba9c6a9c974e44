"""The network for other runtimes, checked numerically after writing."""
