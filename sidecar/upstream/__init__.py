"""The upstream, as probes find it."""
