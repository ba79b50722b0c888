"""The h2 transport, tested with the h2 and hpack libraries and with grpcio's client."""
