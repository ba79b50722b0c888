"""The cost of one signature verification: the lower bound for a token that is not cached."""

import time

from jwt.algorithms import get_default_algorithms

from demo.minting import SigningKey

MESSAGE = b"x" * 500  # about the length of a token's signed part
TIMES = 500


def verification_micros(key: SigningKey) -> float:
    """Return the CPU time of one verification with a key, in microseconds."""
    algorithm = get_default_algorithms()[key.algorithm]
    signature = algorithm.sign(MESSAGE, key.private)
    public = key.private.public_key()
    begin = time.process_time()
    for _ in range(TIMES):
        if not algorithm.verify(MESSAGE, public, signature):
            raise ValueError("a valid signature was refused")
    return (time.process_time() - begin) / TIMES * 1e6
