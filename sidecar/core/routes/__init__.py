"""The route table, and which route a request matches."""
