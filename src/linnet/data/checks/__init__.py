"""What is wrong or odd in a data set, found before the training rather than during it."""
