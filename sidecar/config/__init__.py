"""YAML to validated configuration, with file:line:column in every error."""

from sidecar.config.findings import ConfigError, Finding, Severity
from sidecar.config.load import Config, load, load_policy
from sidecar.config.policy_file import PolicySettings

__all__ = ["Config", "ConfigError", "Finding", "PolicySettings", "Severity", "load", "load_policy"]
