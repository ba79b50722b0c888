"""gRPC servers: bytes in, bytes out. The only messages that they know are those of health."""
