"""The console: one page and one API for a whole cluster.

It is a Basic Server without auth code, behind Envoy and a sidecar. Who may see and change what is
its sidecar's route table (``envoy/console/routes.yaml``); the console reads the identity headers
that the sidecar sets. ``run`` starts it, ``application`` has its routes, ``fleet`` reads the
registry once for all viewers, ``api`` answers in JSON and ``pages`` in HTML.
"""
