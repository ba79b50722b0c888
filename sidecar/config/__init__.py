"""YAML to validated configuration, with file:line:column in every error."""
