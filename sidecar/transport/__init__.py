"""How bytes arrive: gRPC servers that know no message but health."""
