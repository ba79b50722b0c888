"""Issuers that people use, rebuilt: one directory each.

``jwks.json`` is the key set as the issuer sends it, ``tokens.yaml`` has tokens and the result of
each, ``sidecar.yaml`` is the configuration that docs/issuers.md shows. ``<rsa-1.n>`` is the member
``n`` of a key that the test makes; the key's type is before the hyphen: rsa, ec or ed. ``now+300``
is a time in seconds.
"""
