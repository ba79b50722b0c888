"""What an Envoy that remembers allows tells with each question (docs/remember.md)."""

from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from sidecar.core.decision import MemoryUse
from sidecar.pb.ext_authz_pb2 import Metadata

NAMESPACE: Final = "zervi.question"
FIELD: Final = "asks"

# The filter sends at most 32 routes; a name is in the table's own bounds.
MAX_BYTES: Final = 32 * 1024
MAX_ROUTES: Final = 32
MAX_COUNT: Final = 10**9


class Question(NamedTuple):
    """``covers`` is the digest of what Envoy compares and removes (``core.remembering``)."""

    covers: str
    memory_use: MemoryUse


def read_question(metadata_context: bytes) -> Question | None:
    """Read the metadata of a Check; None unless they are of an Envoy that remembers allows."""
    if len(metadata_context) > MAX_BYTES:
        return None
    try:
        metadata = Metadata.FromString(metadata_context).filter_metadata
    except DecodeError:
        return None
    if NAMESPACE not in metadata:
        return None
    asks = metadata[NAMESPACE].fields[FIELD].struct_value
    routes = asks.fields["routes"].struct_value.fields
    counted = ((name, _count(routes[name].number_value)) for name in sorted(routes)[:MAX_ROUTES])
    use = MemoryUse(_number(asks, "repeats"), tuple([each for each in counted if each[1]]))
    return Question(asks.fields["covers"].string_value, use)


def _number(struct: Struct, name: str) -> int:
    return _count(struct.fields[name].number_value)


def _count(value: float) -> int:
    """Return a count; 0 for what is not one."""
    return int(value) if 0 < value <= MAX_COUNT else 0
