"""Which tokens are revoked: entries of a feed, held compactly, and compared at each use.

An entry names a user, a service or a whole issuer with the time before which its tokens are
revoked, or a single token by its SHA-256 or its ``jti``. None is taken back, and of two for the
same user the later time counts.

100,000 entries take some 5 MiB. An entry is a mark (a keyed hash of 64 bits), a time, and when the
feed last listed it. Two marks are equal by chance once in 2^64; only the key finds such a pair.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.tokens.claims import as_text
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.principal import Kind, Principal
from sidecar.core.tokens.shards import Shard

MAX_ENTRIES: Final = 1_000_000
"""A feed with more is refused: it takes some 45 MiB. 100,000 people log out ten times in 8 days."""

MAX_NAME: Final = 1024  # characters of an id or a jti; longer ones pass no identity header

_MAX_TIME: Final = 253402300799  # 9999-12-31T23:59:59Z, as for a token's own times

_KEY_BYTES: Final = 16
_SHARDS: Final = 256  # a shard of a full table has 4,000 entries: it grows within 2 ms
_SHA256_HEX: Final = 64

_SUBJECTS: Final = {"user_id": Kind.USER, "service_id": Kind.SERVICE}
_KINDS: Final = ("user_id", "service_id", "token_sha256", "jti")

_USER, _TOKEN, _JTI, _ISSUER = "subject", "token_sha256", "jti", "issuer"


class EntryError(Exception):
    """An entry is not as the contract says; the message quotes nothing of it."""


class FeedTooLargeError(Exception):
    """The feed has more than MAX_ENTRIES different entries."""


class Marks(NamedTuple):
    """What of a verified token is compared with the entries.

    ``iat`` is None where the token has none. Each mark has its place: subject, token, jti, issuer.
    ``own`` are of entries without an issuer, empty where the feed does not speak for the token's
    issuer; ``named`` are of entries that name it.
    """

    iat: float | None
    own: tuple[int, ...]
    named: tuple[int, ...]
    covered: bool


class Entries:
    """The table of a feed's entries; it grows in place, between two Checks.

    ``key`` is that of the marks. ``names_issuers`` says that an entry names one. ``shards`` are
    the parts of the table: what works on all entries does one shard in a turn.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self.key = key or secrets.token_bytes(_KEY_BYTES)
        self.names_issuers = False
        self._size = 0
        self.shards = [Shard() for _ in range(_SHARDS)]

    def __len__(self) -> int:
        return self._size

    @property
    def memory(self) -> int:
        """The size of the table in bytes."""
        return sum(shard.memory for shard in self.shards)

    def mark(self, kind: str, value: str | bytes, issuer: str = "") -> int:
        """Return the mark of what an entry or a token names."""
        if isinstance(value, str):
            value = value.encode(errors="surrogatepass")
        text = f"{kind}\0{issuer}\0".encode(errors="surrogatepass") + value
        digest = hashlib.blake2b(text, digest_size=8, key=self.key).digest()
        return int.from_bytes(digest, "little") or 1  # 0 is an empty slot

    def add(self, entry: object, now: float) -> bool:
        """Add an entry as the feed's JSON has it; return whether it says something new.

        ``now`` is when the feed lists it, in seconds since the epoch. Raises EntryError, and
        FeedTooLargeError for a new one beyond MAX_ENTRIES.
        """
        kind, value, issuer, time = _read(entry, now)
        known = self._put(self.mark(kind, value, issuer), time, now)
        if issuer:
            self.names_issuers = True
        return not known

    def mark_of(self, entry: object) -> int:
        """Return the mark of an entry as the feed's JSON has it. Raises EntryError."""
        return self.mark(*_read(entry, 0.0)[:3])

    def restore(self, mark: int, time: float, seen: float) -> None:
        """Add an entry of a shard that was kept. Raises FeedTooLargeError."""
        self._put(mark, time, seen)

    def forget(self, shard: int, before: float) -> None:
        """Drop the entries of a shard that the feed last listed before this time."""
        old = self.shards[shard]
        kept = [entry for entry in old.entries() if entry[2] >= before]
        if len(kept) < old.used:
            self.shards[shard] = Shard.of(kept)
            self._size -= old.used - len(kept)

    def time(self, mark: int) -> float | None:
        """Return the time of the entry with this mark; None where there is none."""
        return self.shards[mark & 255].time(mark)

    def marks_of(
        self, claims: Mapping[str, Any], digest: bytes, principal: Principal, *, covered: bool
    ) -> Marks:
        """Return the marks of a token; ``digest`` is its SHA-256."""
        jti = as_text(claims.get("jti"))
        iat = claims.get("iat")
        own: list[tuple[str, str | bytes]] = [
            (_USER, f"{principal.kind}\0{principal.subject}"),
            (_TOKEN, digest),
        ]
        if jti is not None:
            own.append((_JTI, jti))
        name = principal.issuer
        return Marks(
            iat if isinstance(iat, int | float) else None,
            tuple([self.mark(*each, "") for each in own]) if covered else (),
            (self.mark(_ISSUER, "", name), *[self.mark(*each, name) for each in own]),
            covered,
        )

    def _put(self, mark: int, time: float, seen: float) -> bool:
        """Return whether the entry was there, with this time or a later one."""
        shard = self.shards[mark & 255]
        known = shard.time(mark)
        if known is None:
            if self._size >= MAX_ENTRIES:
                raise FeedTooLargeError(f"more than {MAX_ENTRIES:,} entries")
            self._size += 1
        shard.put(mark, time, seen)
        return known is not None and known >= time


class Revocations:
    """The feed as the decision sees it: its entries, its issuers, and until when it is trusted.

    ``issuers`` are the names of those whose tokens the feed revokes; ``retain`` is for how many
    seconds it lists an entry. ``trusted_until`` is of the steady clock: from then on the tokens of
    these issuers are ``not_ready``. Entries and that time change in place, between two Checks.
    """

    __slots__ = ("entries", "issuers", "retain", "trusted_until")

    def __init__(
        self,
        entries: Entries,
        issuers: frozenset[str],
        retain: float,
        trusted_until: float = float("-inf"),
    ) -> None:
        self.entries = entries
        self.issuers = issuers
        self.retain = retain
        self.trusted_until = trusted_until

    def rules(self) -> tuple[object, ...]:
        """Return what a remembered token depends on; entries count at each use."""
        return self.issuers, self.retain, self.entries.key

    def check_lifetime(self, claims: Mapping[str, Any], issuer: str, now: float) -> None:
        """Raise TokenError for a token that lives longer than the feed remembers.

        ``iat`` and ``exp`` are numbers. A token without ``iat`` counts as issued now.
        """
        if issuer not in self.issuers:
            return
        if "exp" not in claims:
            detail = f"no exp, and `retain` of revocation is {self.retain:.0f} s"
            raise TokenError(Reason.TOKEN_CLAIMS, detail)
        lifetime = claims["exp"] - claims.get("iat", now)
        if lifetime > self.retain:
            detail = (
                f"exp is {lifetime:.0f} s after {'iat' if 'iat' in claims else 'now, and no iat'},"
                f" more than `retain` of revocation, {self.retain:.0f} s"
            )
            raise TokenError(Reason.TOKEN_CLAIMS, detail)

    def marks_of(self, claims: Mapping[str, Any], digest: bytes, principal: Principal) -> Marks:
        """Return what of a token to compare."""
        covered = principal.issuer in self.issuers
        return self.entries.marks_of(claims, digest, principal, covered=covered)

    def allows(self, marks: Marks | None, steady: float) -> bool:
        """Say quickly whether ``refusal`` has nothing against a token."""
        if marks is None or (steady >= self.trusted_until and marks.covered):
            return False
        entries = self.entries
        shards = entries.shards
        for mark in marks.own + marks.named if entries.names_issuers else marks.own:
            keys = shards[mark & 255].keys
            # Another mark in the first slot is nearly as rare as the token's own.
            if keys[(mark >> 8) & (len(keys) - 1)]:
                return self.refusal(marks, steady) is None
        return True

    def refusal(self, marks: Marks | None, steady: float) -> TokenError | None:
        """Return why a token is not accepted, None where it is.

        ``marks`` are the token's, None where they were not kept; ``steady`` is the time by the
        clock of ``trusted_until``.
        """
        if marks is None:
            return TokenError(Reason.INTERNAL, "a token was kept without its marks")
        if marks.covered and steady >= self.trusted_until:
            return TokenError(Reason.NOT_READY, "no revocation feed that is young enough")
        found = self.entry_against(marks)
        return None if found is None else TokenError(Reason.TOKEN_REVOKED, found[1])

    def entry_against(self, marks: Marks) -> tuple[int, str] | None:
        """Return the mark of an entry that revokes a token, and how; None where there is none."""
        places = (_USER, _TOKEN, _JTI)
        own = zip(places, marks.own, strict=False)
        named = zip((_ISSUER, *places), marks.named, strict=False)
        for place, mark in (*own, *named):
            time = self.entries.time(mark)
            if time is None:
                continue
            if place in (_TOKEN, _JTI):
                return mark, f"an entry with its {place}"
            what = "its user or service" if place == _USER else "its issuer"
            if marks.iat is None:
                return mark, f"an entry with {what}, and no iat"
            if marks.iat < time:
                how = f"an entry with {what}: issued {time - marks.iat:.0f} s before not_before"
                return mark, how
        return None


def _read(entry: object, now: float) -> tuple[str, str | bytes, str, float]:
    """Return kind, value, issuer ("" for the feed's) and time. Raises EntryError."""
    if not isinstance(entry, dict):
        raise EntryError("an entry is not an object")
    given = [kind for kind in _KINDS if entry.get(kind) is not None]
    issuer = ""
    if entry.get("issuer") is not None:
        issuer = _name(entry["issuer"], "issuer")
    if len(given) > 1:
        raise EntryError(f"an entry has both {given[0]} and {given[1]}")
    if not given:
        if not issuer:
            raise EntryError(f"an entry has none of {', '.join(_KINDS)} and issuer")
        return _ISSUER, "", issuer, _not_before(entry)
    kind = given[0]
    if kind in _SUBJECTS:
        subject = as_text(entry[kind]) if not isinstance(entry[kind], str) else entry[kind]
        name = _name(subject, kind)
        return _USER, f"{_SUBJECTS[kind]}\0{name}", issuer, _not_before(entry)
    if kind == _JTI:
        return _JTI, _name(as_text(entry[kind]), kind), issuer, now
    try:
        digest = bytes.fromhex(entry[kind])
    except (TypeError, ValueError):
        digest = b""
    if len(digest) * 2 != _SHA256_HEX or len(entry[kind]) != _SHA256_HEX:
        raise EntryError("an entry's token_sha256 is not 64 hexadecimal digits")
    return _TOKEN, digest, issuer, now


def _name(value: object, member: str) -> str:
    if not isinstance(value, str) or not value:
        raise EntryError(f"an entry's {member} is neither text nor an integer")
    if len(value) > MAX_NAME:
        raise EntryError(f"an entry's {member} is longer than {MAX_NAME} characters")
    return value


def _not_before(entry: Mapping[str, object]) -> float:
    value = entry.get("not_before")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EntryError("an entry has no not_before that is a number")
    if not 0 <= value <= _MAX_TIME:
        raise EntryError(f"an entry's not_before is not from 0 to {_MAX_TIME}")
    return float(value)
