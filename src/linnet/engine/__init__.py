"""The architecture without torch: batch-norm folding, the numpy reference, and the seat of the native library."""
