"""What operators look at: health, metrics, the decision log, the ops HTTP server."""
