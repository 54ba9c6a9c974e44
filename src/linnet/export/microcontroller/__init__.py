"""Exports for microcontrollers."""
