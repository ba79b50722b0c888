"""An authorization sidecar for Envoy: Zervi tokens, route permissions, Looma health."""
