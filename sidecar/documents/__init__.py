"""YAML and JSON documents with line numbers, what is wrong with them, and their schema."""
