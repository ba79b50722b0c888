"""What a careful reviewer says of a valid configuration and policy."""
