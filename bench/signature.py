"""What verifying a signature costs by itself: the floor for a token that was never seen."""

import time

from jwt.algorithms import get_default_algorithms

from demo.minting import SigningKey

MESSAGE = b"x" * 500  # about as long as a token's first two parts
TIMES = 500


def verification_micros(key: SigningKey) -> float:
    """Return the CPU time of one verification with that key, in microseconds."""
    algorithm = get_default_algorithms()[key.algorithm]
    signature = algorithm.sign(MESSAGE, key.private)
    public = key.private.public_key()
    begin = time.process_time()
    for _ in range(TIMES):
        if not algorithm.verify(MESSAGE, public, signature):
            raise ValueError("a good signature was refused")
    return (time.process_time() - begin) / TIMES * 1e6
