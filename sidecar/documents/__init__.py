"""YAML and JSON documents with line numbers, findings about them, and their schema."""
