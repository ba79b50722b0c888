"""Warnings and advice about a configuration and its policy; errors are found by `config`."""
