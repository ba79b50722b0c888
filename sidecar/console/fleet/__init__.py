"""The nodes of a registry: read once for all viewers, searched and counted here."""
