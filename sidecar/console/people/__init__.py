"""Users: what Zervi says of them, and how their part of the cluster is."""
