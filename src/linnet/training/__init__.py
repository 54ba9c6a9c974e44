"""Training: recipes, one loop from a laptop to a cluster, and a folder for each run."""
