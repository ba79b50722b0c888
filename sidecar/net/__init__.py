"""What the edges share: a clock, TLS trust, how log lines are written."""
