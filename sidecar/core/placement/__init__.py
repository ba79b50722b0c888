"""Which instance serves a caller: pure functions over a directory's values."""
