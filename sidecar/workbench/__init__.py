"""Know before you deploy, and know why afterwards: the engine that enforces, asked offline."""
