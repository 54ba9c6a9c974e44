"""The network for other runtimes, checked numerically before it is written."""
