"""Decisions as values: no input or output, no clock, no randomness, no async, no logging."""
