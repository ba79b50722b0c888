"""A generator of tokens: good ones, changed in one to three ways that attackers know."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.support.judging import NOW
from tests.support.signing import PrivateKey, b64, sign

HEADER_NAMES = [
    "alg",
    "kid",
    "kid",
    "typ",
    "cty",
    "crit",
    "b64",
    "zip",
    "enc",
    "jku",
    "jwk",
    "x5c",
    "o",
]
CLAIM_NAMES = [
    *("iss", "sub", "user_id", "exp", "nbf", "iat", "aud", "token", "token_type", "token_use"),
    *("type", "cnf", "events", "at_hash"),
    *("typ", "service_id", "username", "email", "role", "roles", "permissions", "o"),
]
ODD_JSON = [
    *(
        "null",
        "true",
        "false",
        '""',
        '"x"',
        '" "',
        "0",
        "-1",
        "1",
        "1.5",
        "-0.0",
        "1e3",
        "[]",
        "{}",
    ),
    *("NaN", "Infinity", "-Infinity", "1e400", "1E-400", "01", "+1", ".5", "1.", "0x1", "--1"),
    *("9" * 20, "9" * 64, "9" * 65, "9" * 5000, "-" + "9" * 64, "1" * 400 + ".5"),
    *('"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\r\\nx: y"', '"\\x41"'),
    *('"\x00"', '"\n"', '"张三"', '"\ufeff"', '"a,b%"', "'x'", '"x', "x", "", "[1,]", '{"a":1,}'),
    *('{"a":1,"a":2}', '{"a":{"b":[{"c":null}]}}', '["x"]', '["x",1]', '["x",null,["y"]]', "[[]]"),
    *(str(NOW), f'"{NOW}"', f"[{NOW}]", "253402300799", "253402300800", "253402300799.5", "1e308"),
    *(f'"{"k" * 256}"', f'"{"k" * 257}"', f'"{"三" * 900}"', f'"{"x" * 7000}"', f'"{"[" * 99}"'),
]
FITTING_JSON: Mapping[str, list[Any]] = {
    "alg": ["none", "NONE", "RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS384", "rs256"],
    "kid": ["r", "p", "e", "d", "l", "unknown", "", "../e", "e\0"],
    "typ": ["JWT", "jwt", "at+jwt", "application/at+jwt", "Refresh", "logout+jwt", "Bearer", "ID"],
    "type": ["refresh", "access", "Offline", "user"],
    "cnf": [{"jkt": "x"}, {}, None],
    "events": [{"x": {}}, {}, [], None],
    "at_hash": ["x", "", None],
    "iss": ["zervi", "Zervi", "legacy", "lone", "cold", "stale", "other", ""],
    "aud": ["jobfirst", "x", ["jobfirst"], ["x", "jobfirst"], ["x"], [], ["jobfirst", 1]],
    "sub": ["42", "zervi", "", 42, 0, -1, "张三", 4.2, True],
    "user_id": [42, "42", "", None, 10**30, [], False],
    "service_id": ["svc", "", None, 5, True, ["svc"]],
    "token": ["refresh-1", "refresh", "Refresh-1", "access-1", ["refresh-1"]],
    "token_type": ["refresh", "REFRESH_TOKEN", "access", "refresh-token", ["refresh"]],
    "role": ["admin", "all", "", ["admin"], 1],
    "roles": [["admin", "user"], ["all"], "user", [1, None, "user"], {"admin": True}],
    "permissions": [["a", "b"], "a", {"a": 1}, None, 1, [["*"]], ["", "a,b", "a"]],
    "username": ["alice", "张三", "", 1, "a\r\nb", None],
    "exp": [NOW, NOW - 29.5, NOW - 30, NOW - 1e6, NOW + 1, 0, 253402300799],
    "nbf": [NOW, NOW + 30, NOW + 30.5, 0],
    "iat": [NOW, NOW + 1e6, 0],
}


class Signer(NamedTuple):
    """A way to sign a token that its issuer takes."""

    issuer: str | None
    alg: str
    kid: str | None
    key: PrivateKey | bytes


@dataclass
class Draft:
    """A token in the making: members as JSON text, then how they are written and spelled."""

    header: list[tuple[str, str]]
    claims: list[tuple[str, str]]
    key: PrivateKey | bytes
    sign_as: str
    write: list[Callable[[str], bytes]] = field(default_factory=lambda: [str.encode, str.encode])
    spell: list[Callable[[bytes], bytes]] = field(default_factory=lambda: [bytes] * 4)

    def token(self) -> bytes:
        """Return the token, signed over what it then says."""
        texts = (self.header, self.claims)
        parts = [
            spell(b64(write(_object(members))))
            for members, write, spell in zip(texts, self.write, self.spell, strict=False)
        ]
        signing_input = b".".join(parts)
        signature = self.spell[2](b64(sign(self.sign_as, self.key, signing_input)))
        return self.spell[3](signing_input + b"." + signature)


def _object(members: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"


def _members(**values: Any) -> list[tuple[str, str]]:
    return [(f'"{name}"', json.dumps(value)) for name, value in values.items() if value is not None]


_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NEXT = {
    _ALPHABET[at : at + 1]: _ALPHABET[(at + 1) % 64 : (at + 1) % 64 + 1] for at in range(64)
} | {b"=": b"="}

WRITINGS: list[Callable[[str], bytes]] = [
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode("utf-16-le"),
    lambda text: text.encode("utf-32"),
    lambda text: text.encode("latin-1", "replace"),
    lambda text: f" \t\r\n{text}\n".encode(),
    lambda text: f"\v{text}".encode(),
    lambda text: f"[{text}]".encode(),
    lambda text: f"{text}{text}".encode(),
    lambda text: f"{text}\0".encode(),
    lambda text: text[:-1].encode(),
    lambda text: json.dumps(text).encode(),
    lambda text: text.replace("}", ',"\xe9":1}', 1).encode("latin-1", "replace"),
    lambda text: text.replace(":", ' : "\ud800", "s":', 1).encode("utf-8", "surrogatepass"),
    lambda _: b"",
    lambda _: b"{}",
]
SPELLINGS: list[Callable[[bytes], bytes]] = [
    lambda part: part + b"=" * (-len(part) % 4),
    lambda part: part + b"=",
    lambda part: part + b"A",
    lambda part: part[:-1],
    lambda part: part.replace(b"-", b"+").replace(b"_", b"/"),
    lambda part: part[:5] + b"\n" + part[5:],
    lambda part: part[:5] + b"." + part[5:],
    lambda part: part + b" ",
    lambda part: part[:-1] + _NEXT[part[-1:]] if part else part,
    lambda _: b"",
    lambda part: part + b"\xff",
    lambda part: part.swapcase(),
]


@st.composite
def odd_tokens(draw: st.DrawFn, signers: Sequence[Signer]) -> bytes:
    """Draw a token that one of the signers made, good as it is or changed in up to three ways."""
    signer = draw(st.sampled_from(signers))
    draft = Draft(
        _members(alg=signer.alg, kid=signer.kid, typ=draw(st.sampled_from(["JWT", None]))),
        _members(
            iss=signer.issuer, aud="jobfirst", user_id=42, exp=NOW + draw(st.sampled_from([1, 600]))
        ),
        signer.key,
        signer.alg,
    )
    for _ in range(draw(st.integers(0, 3))):
        draw(st.sampled_from(CHANGES))(draw, draft, signers)
    return draft.token()


def _change_member(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    members, name = _any_member(draw, draft)
    fitting = [json.dumps(value) for value in FITTING_JSON.get(name, [])]
    value = draw(st.sampled_from(ODD_JSON) | st.sampled_from(fitting or ["null"]))
    members[:] = [member for member in members if member[0] != f'"{name}"']
    members.append((f'"{name}"', value))


def _fit_member(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    members, name = _any_member(draw, draft)
    if name in FITTING_JSON:
        members[:] = [member for member in members if member[0] != f'"{name}"']
        members.append((f'"{name}"', json.dumps(draw(st.sampled_from(FITTING_JSON[name])))))


def _drop_member(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    members = draw(st.sampled_from([draft.header, draft.claims]))
    if members:
        members.pop(draw(st.integers(0, len(members) - 1)))


def _double_member(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    members = draw(st.sampled_from([draft.header, draft.claims]))
    if members:
        name, value = draw(st.sampled_from(members))
        if draw(st.booleans()):
            name = f'"\\u{ord(name[1]):04x}{name[2:]}'
        members.append((name, draw(st.sampled_from([value, *ODD_JSON]))))


def _nest(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    members = draw(st.sampled_from([draft.header, draft.claims]))
    depth = draw(st.sampled_from([14, 15, 16, 17, 60, 1000, 3000]))
    opened, closed = draw(st.sampled_from([("[", "]"), ('{"a":', "}")]))
    inner = draw(st.sampled_from(["1", '"]"', '"\\""', "[]"]))
    members.append(('"deep"', opened * depth + inner + closed * depth))


def _sign_otherwise(draw: st.DrawFn, draft: Draft, signers: Sequence[Signer]) -> None:
    other = draw(st.sampled_from(signers))
    draft.key = other.key
    draft.sign_as = draw(st.sampled_from([other.alg, draft.sign_as]))


def _write_otherwise(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    draft.write[draw(st.integers(0, 1))] = draw(st.sampled_from(WRITINGS))


def _spell_otherwise(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    draft.spell[draw(st.integers(0, 3))] = draw(st.sampled_from(SPELLINGS))


def _touch(draw: st.DrawFn, draft: Draft, _: Sequence[Signer]) -> None:
    at, other = draw(st.floats(0, 0.999)), draw(st.sampled_from(b"A_.=\0\xff{e"))

    def touch(raw: bytes) -> bytes:
        place = int(at * len(raw))
        return raw[:place] + bytes([other]) + raw[place + 1 :]

    draft.spell[3] = touch


def _any_member(draw: st.DrawFn, draft: Draft) -> tuple[list[tuple[str, str]], str]:
    if draw(st.integers(0, 3)) == 0:
        return draft.header, draw(st.sampled_from(HEADER_NAMES))
    return draft.claims, draw(st.sampled_from(CLAIM_NAMES))


CHANGES: list[Callable[[st.DrawFn, Draft, Sequence[Signer]], None]] = [
    *[_fit_member] * 12,
    *[_change_member] * 3,
    *(_drop_member, _double_member, _nest, _sign_otherwise, _write_otherwise, _spell_otherwise),
    _touch,
]
