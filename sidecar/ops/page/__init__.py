"""The node's page: what this sidecar is and does, for a person with a browser on this machine.

It is read-only. ``serve`` imports it only where ``listen.page`` is set.
"""
