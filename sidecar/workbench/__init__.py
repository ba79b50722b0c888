"""Offline tools with the same engine as the sidecar: explain, test, replay, doctor, import."""
