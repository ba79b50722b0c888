"""Measurements and simulations: ``make bench``, ``make fleet``, ``make soak``."""
