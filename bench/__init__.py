"""What the product costs, measured and simulated."""
