"""Routes: the table, and which route a request falls to."""
