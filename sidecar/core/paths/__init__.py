"""Paths: one canonical spelling, and every reading that an upstream may have."""
