"""The decision: pure functions over plain values, without transport, files, network or clock."""
