"""For operators: readiness, metrics, logs, the HTTP server of the ops and admin addresses."""
