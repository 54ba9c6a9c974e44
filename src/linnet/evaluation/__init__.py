"""How good a model is on labelled pictures, in numbers and in pictures."""
