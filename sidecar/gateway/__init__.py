"""Envoy's files for the gateway: a cluster, its endpoints and a route for each target.

Envoy watches ``clusters.json``, ``routes.json`` and the endpoints of each cluster, and takes a file
over that replaces another by a rename. No path is in them: a route matches the target that the
sidecar's answer names, so what was decided is what is routed.
"""
