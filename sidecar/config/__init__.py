"""YAML to validated configuration, with file:line:column in every error."""

from sidecar.config.changes import changed_keys, needs_restart
from sidecar.config.load import Config, ConfigFiles, load, read_files
from sidecar.documents.findings import ConfigError, Finding, Severity

__all__ = [
    "Config",
    "ConfigError",
    "ConfigFiles",
    "Finding",
    "Severity",
    "changed_keys",
    "load",
    "needs_restart",
    "read_files",
]
