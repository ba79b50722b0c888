"""Tokens: credentials, keys, verification, and the principal that the claims prove."""
