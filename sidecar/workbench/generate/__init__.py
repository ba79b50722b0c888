"""Writes Envoy's configuration from the sidecar's."""
