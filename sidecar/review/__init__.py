"""Warnings and advice about a configuration and its policy, beside what `config` finds wrong."""
