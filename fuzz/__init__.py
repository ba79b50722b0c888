"""Fuzzers for the parsers of untrusted input: ``make fuzz``."""
