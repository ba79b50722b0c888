"""Fuzzing what reads hostile bytes: ``make fuzz``."""
