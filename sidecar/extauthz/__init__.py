"""Envoy's external authorization: CheckRequest bytes in, CheckResponse bytes out."""
