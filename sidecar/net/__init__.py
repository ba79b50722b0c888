"""What the edges share: clocks, TLS trust, how a fault is logged."""
