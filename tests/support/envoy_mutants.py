"""Every small change of a bootstrap: a field removed, weakened, or turned round; one added."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from demo.stack import BOOTSTRAPS
from sidecar.config.model import PolicySection
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents.findings import Place
from sidecar.workbench.doctor import Wanted, allowlist, examine
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.profile import load_profile
from tests.support.envoy_api import messages
from tests.support.envoy_weakened import as_json

ENVOY = BOOTSTRAPS / "envoy.yaml"

# What else a field may plausibly say, where its kind does not tell.
OTHERS: Mapping[str, Sequence[Any]] = {
    "code": ["Forbidden", "OK"],
    "codec_type": ["HTTP1", "HTTP2", "HTTP3"],
    "headers_with_underscores_action": ["ALLOW", "DROP_HEADER"],
    "path_with_escaped_slashes_action": [
        "KEEP_UNCHANGED", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT"
    ],
    "action": ["DENY", "LOG"],
    "metadata_source": ["ROUTE"],
    "transport_api_version": ["V2", "AUTO"],
    "type": ["STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"],
    "append_action": ["ADD_IF_ABSENT", "APPEND_IF_EXISTS_OR_ADD"],
    "op": ["EQ", "LE"],
    "upgrade_type": ["CONNECT", "connect-udp", "other"],
    "address": ["10.0.0.1", "0.0.0.0", "localhost", "::1"],
    "regex": [".*", "x-user-id", ""],
    "domains": [["example.com"]],
    "retry_on": ["5xx", "retriable-4xx", "connect-failure"],
}  # fmt: skip

_DURATION = re.compile(r"([0-9.]+)s")


REMOVED = object()
REVERSED = object()


class Mutant(NamedTuple):
    """One change of a bootstrap: what a value becomes, and how the change is named."""

    place: Place
    change: str
    other: Any

    @property
    def name(self) -> str:
        """Return where and what, for people and for the table of harmless changes."""
        return f"{shown(self.place)} {self.change}"

    @property
    def reach(self) -> Place:
        """Return the place below which nothing is as it was: a removed item moves the others."""
        moves = isinstance(self.place[-1], int) and self.other is REMOVED
        return self.place[:-1] if moves else self.place

    def apply(self, document: Any) -> Any:
        """Change a document, and return it."""
        into = document
        for key in self.place[:-1]:
            into = into[key]
        if self.other is REMOVED:
            del into[self.place[-1]]
        elif self.other is REVERSED:
            into[self.place[-1]].reverse()
        else:
            into[self.place[-1]] = self.other
        return document


def shown(place: Place) -> str:
    """Return a place as text, the two connection managers by a short name."""
    text = ".".join(map(str, place)).removeprefix("static_resources.")
    for index, name in enumerate(("ingress", "stats")):
        text = text.replace(f"listeners.{index}.filter_chains.0.filters.0.typed_config", name)
    return text


def mutants(value: Any, place: Place = ()) -> Iterator[Mutant]:
    """Yield each value of a bootstrap removed, changed, emptied and turned round."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        here = (*place, key)
        yield Mutant(here, "removed", REMOVED)
        for change, other in _others(key if isinstance(key, str) else place[-1], each):
            yield Mutant(here, change, other)
        if isinstance(each, dict | list):
            yield from mutants(each, here)


def _others(key: Any, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool):
        yield json.dumps(not value), not value
    elif isinstance(value, int):
        yield "0", 0
        yield str(value * 1000 + 1), value * 1000 + 1
    elif isinstance(value, list):
        yield "emptied", []
        if len(value) > 1:
            yield "reversed", REVERSED
    elif isinstance(value, dict):
        if value:
            yield "emptied", {}
    elif key in OTHERS:
        for other in OTHERS[key]:
            if other != value:
                yield json.dumps(other), other
    elif found := _DURATION.fullmatch(value or ""):
        for other in ("0s", f"{float(found[1]) * 1000:.0f}s"):
            if other != value:
                yield json.dumps(other), other
    elif value is not None:
        yield '"other"', "other"


def additions(bootstrap: dict[str, Any]) -> Iterator[Mutant]:
    """Yield each field that Envoy knows and the bootstrap does not have, wherever it fits."""
    profile, api = load_profile(), messages()
    for part, name in _messages(bootstrap):
        for proto in profile[name].protos[:1]:
            for field, described in api[proto].items():
                if field not in part.value:
                    yield Mutant((*part.place, field), "added", _plausible(described))


def _messages(whole: dict[str, Any]) -> list[tuple[Part, str]]:
    """Return each message of the bootstrap with its entry in the profile."""
    found: list[tuple[Part, str]] = []
    walk = allowlist.walk

    def record(part: Part, name: str, context: Any) -> Any:
        found.append((part, name))
        return walk(part, name, context)

    with (
        mock.patch("sidecar.workbench.doctor.allowlist.walk", record),
        mock.patch("sidecar.workbench.doctor.walk", record),
    ):
        list(examine(whole, Wanted(None, ())))
    return found


def _plausible(field: Field) -> Any:
    kind: Any = {
        Field.TYPE_BOOL: True,
        Field.TYPE_STRING: "x",
        Field.TYPE_BYTES: "eA==",
        Field.TYPE_ENUM: 1,
        Field.TYPE_MESSAGE: _wrapped(field.type_name),
    }.get(field.type, 1)
    return [kind] if field.label == Field.LABEL_REPEATED else kind


def _wrapped(name: str) -> Any:
    if name == ".google.protobuf.Duration":
        return "1s"
    if name.startswith(".google.protobuf.Bool"):
        return True
    return 1 if name.startswith((".google.protobuf.UInt", ".google.protobuf.Int")) else {}


@cache
def silent() -> Sequence[Mutant]:
    """Return every change of envoy.yaml of which ``doctor`` says nothing."""
    text = as_json(ENVOY)
    fits = wanted()
    return [
        mutant
        for made in (mutants, additions)
        for mutant in made(json.loads(text))
        if next(iter(examine(mutant.apply(json.loads(text)), fits)), None) is None
    ]


def wanted() -> Wanted:
    """Return what the sidecar needs from Envoy by default."""
    removed = PolicySection.remove_headers
    return Wanted("127.0.0.1:9001", (*IdentityHeaders().never_from_clients(), *removed), removed)
