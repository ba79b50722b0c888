"""Fetches the issuers' key sets and refreshes them."""
