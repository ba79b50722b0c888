"""The lean transport, held against the h2 and hpack libraries and against grpcio's client."""
