"""An authorization sidecar for Envoy: Zervi tokens, route permissions, Looma health."""

__version__ = "0.1.0"  # a constant: importlib.metadata costs 2.5 MiB and 15 ms
