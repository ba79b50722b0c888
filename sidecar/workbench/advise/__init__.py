"""Advice for less privilege: what a decision log shows that a route table does not need.

``usage`` counts over a log in bounded memory, ``findings`` makes advice of the counts, ``proposal``
writes a narrower table, and ``proof`` replays the log against it.
"""
