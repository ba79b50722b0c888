"""User environments: a user in Zervi, a Basic Server at Looma, and permissions, as one thing.

Creating and deleting one is a saga: ``store`` remembers each step before it is taken and after,
``saga`` takes the steps, repeats and undoes them, ``steps`` makes the calls. Each step has a key of
its own, under which Zervi and Looma do it once however often it is asked for.
"""
