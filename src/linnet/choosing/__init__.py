"""Which network fits a budget: exact costs, times measured on this machine, published accuracies."""
