"""Follows a feed of revoked tokens: over HTTP, or in Redis or Valkey."""
