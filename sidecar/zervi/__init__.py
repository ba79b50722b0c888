"""Key sets over HTTP, and their refreshing."""
