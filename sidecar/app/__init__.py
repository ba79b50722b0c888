"""Wires the rooms together into one running sidecar."""
