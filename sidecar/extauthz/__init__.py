"""Envoy's external authorization: CheckRequest bytes to a request, a decision to CheckResponse bytes."""
