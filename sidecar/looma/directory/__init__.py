"""The directory of instances, read from a registry. No entry is trusted."""
