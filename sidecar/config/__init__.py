"""YAML to validated configuration, with file:line:column in every error."""

from sidecar.config.changes import changed_keys
from sidecar.config.findings import ConfigError, Finding, Severity
from sidecar.config.load import Config, load

__all__ = ["Config", "ConfigError", "Finding", "Severity", "changed_keys", "load"]
