"""The stand-ins that the demo and the tests run: Zervi, Looma, a Basic Server."""
