"""Samples → batches for training: decoding, random crops, augmentation. With torch."""
