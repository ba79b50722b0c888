"""README and docs: what they show is what happens."""
