"""What a token must look like before any cryptography."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.reasons import Reason
from sidecar.core.tokens import base64url, jws, strict_json
from sidecar.core.tokens.errors import TokenError
from tests.support.signing import b64

HEADER = b'{"alg":"RS256","kid":"k"}'
CLAIMS = b'{"iss":"zervi"}'


def token(header: bytes = HEADER, claims: bytes = CLAIMS, signature: bytes = b"signed") -> bytes:
    return b".".join((b64(header), b64(claims), b64(signature)))


def refusal(raw: bytes) -> Reason:
    with pytest.raises(TokenError) as caught:
        jws.read(raw)
    return caught.value.reason


def test_a_token_is_read_into_its_parts() -> None:
    """The signing input is the very bytes that came, the signature is decoded."""
    raw = token()
    assert jws.read(raw) == jws.UnverifiedToken(
        alg="RS256",
        kid="k",
        claims={"iss": "zervi"},
        signing_input=raw.rpartition(b".")[0],
        signature=b"signed",
    )


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="zero bytes"),
        pytest.param(b64(HEADER), id="one part"),
        pytest.param(token().rpartition(b".")[0], id="two parts"),
        pytest.param(token() + b".e30", id="four parts"),
        pytest.param(token() + b".e30.e30", id="five parts, as a JWE has"),
        pytest.param(token() + b".e30.e30.e30", id="six parts"),
        pytest.param(b"..", id="three empty parts"),
        pytest.param(token() + b".", id="an empty fourth part"),
        pytest.param(b"a" * 1_000_000, id="1 MB without a dot"),
        pytest.param(b"." * 1_000_000, id="1 MB of dots"),
        pytest.param(token(claims=b'{"a":"' + b"x" * 1_000_000 + b'"}'), id="1 MB of claims"),
        pytest.param(b"Bearer " + token(), id="with its scheme"),
        pytest.param(b" " + token(), id="a space before"),
        pytest.param(token() + b"\n", id="a line break after"),
        pytest.param(token().replace(b".", "。".encode()), id="full-width dots"),
        pytest.param("\ufeff".encode() + token(), id="a byte order mark before"),
        pytest.param(token().decode().encode("utf-16"), id="UTF-16 as a whole"),
        pytest.param(b'{"payload":"e30","protected":"e30","signature":"e30"}', id="JWS in JSON"),
    ],
)
def test_what_is_not_three_parts_of_base64url_is_malformed(raw: bytes) -> None:
    """Whatever its size, it is refused for its form."""
    assert refusal(raw) is Reason.TOKEN_MALFORMED


def test_the_longest_token_is_8_kib() -> None:
    """One byte more is refused before it is read."""
    filled = token(signature=b"x" * ((jws.MAX_TOKEN_BYTES - len(token(signature=b""))) * 3 // 4))
    assert len(filled) == jws.MAX_TOKEN_BYTES
    assert jws.read(filled).alg == "RS256"
    assert refusal(b"!" * (jws.MAX_TOKEN_BYTES + 1)) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize(
    "respell",
    [
        pytest.param(lambda part: part + b"=", id="padding"),
        pytest.param(lambda part: part + b"==", id="more padding"),
        pytest.param(lambda part: part[:4] + b"\n" + part[4:], id="a line break inside"),
        pytest.param(lambda part: part[:4] + b" " + part[4:], id="a space inside"),
        pytest.param(lambda part: part[:4] + b"*" + part[4:], id="a foreign character inside"),
        pytest.param(lambda part: part[:4] + b"\xc3\xa9" + part[4:], id="not ASCII"),
        pytest.param(lambda part: part.replace(b"_", b"/").replace(b"-", b"+"), id="plain base64"),
        pytest.param(lambda part: part[:-1] + bytes([part[-1] + 1]), id="bits past the end"),
        pytest.param(lambda part: part + b"AAA", id="a lone character at the end"),
        pytest.param(lambda part: part.replace(b"_", b"%5F"), id="percent-encoded"),
    ],
)
def test_each_part_has_one_spelling(part: int, respell: object) -> None:
    """What decodes to the same bytes by a kinder decoder is refused, in any part."""
    odd = b'"~~~???>>>"'  # spelled with - and _, and two bits to spare at the end
    header = b'{"alg":"RS256","o":' + odd + b"}"
    claims = b'{"o":' + odd + b"}"
    header += b" " * (-len(header) % 3 + 1)
    claims += b" " * (-len(claims) % 3 + 1)
    parts = [b64(header), b64(claims), b64(b"\xff\xfe\xfd\xfb\xef\xbe\xff")]
    jws.read(b".".join(parts))
    assert callable(respell)
    assert respell(parts[part]) != parts[part]
    parts[part] = respell(parts[part])
    assert refusal(b".".join(parts)) is Reason.TOKEN_MALFORMED


@given(st.binary(max_size=24))
def test_base64url_has_one_spelling_for_all_bytes(data: bytes) -> None:
    """Decoding takes back what encoding gives, which is what the standard library gives."""
    assert base64url.decode(base64url.encode(data)) == data
    assert base64url.encode(data) == base64.urlsafe_b64encode(data).rstrip(b"=")


@given(st.text("AQgw_-9=+/ \n.~", max_size=9).map(str.encode))
def test_whatever_base64url_reads_it_would_write(text: bytes) -> None:
    """No two texts decode to the same bytes."""
    try:
        data = base64url.decode(text)
    except ValueError:
        return
    assert base64.urlsafe_b64encode(data).rstrip(b"=") == text


BAD_JSON = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"null", id="null"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'[{"alg":"RS256"}]', id="an object in a list"),
    pytest.param(b'"alg"', id="a string"),
    pytest.param(b"1", id="a number"),
    pytest.param(b"{}{}", id="two objects"),
    pytest.param(b"{} x", id="something after it"),
    pytest.param(b"{'alg':'RS256'}", id="single quotes"),
    pytest.param(b'{"alg":"RS256",}', id="a comma too many"),
    pytest.param(b'{"alg":"RS256"', id="cut short"),
    pytest.param(b'{"alg":"RS256" /* */}', id="a comment"),
    pytest.param(b'{alg:"RS256"}', id="a bare key"),
    pytest.param(b'{"alg":"RS256","a":01}', id="a leading zero"),
    pytest.param(b'{"alg":"RS256","a":+1}', id="a plus sign"),
    pytest.param(b'{"alg":"RS256","a":.5}', id="a bare fraction"),
    pytest.param(b'{"alg":"RS256","a":0x1}', id="hexadecimal"),
    pytest.param('{"alg":"RS256","a":١}'.encode(), id="a digit that is not ASCII"),
    pytest.param(b'{"alg":"RS256","a":True}', id="Python's True"),
    pytest.param(b'{"alg":"RS256","a":NaN}', id="NaN"),
    pytest.param(b'{"alg":"RS256","a":Infinity}', id="Infinity"),
    pytest.param(b'{"alg":"RS256","a":-Infinity}', id="-Infinity"),
    pytest.param(b'{"alg":"RS256","a":1e999}', id="a float that overflows"),
    pytest.param(b'{"alg":"RS256","a":-1e999}', id="a float that overflows below"),
    pytest.param(b'{"alg":"RS256","a":' + b"9" * 65 + b"}", id="an integer of 65 digits"),
    pytest.param(b'{"alg":"RS256","a":' + b"9" * 5000 + b"}", id="an integer of 5,000 digits"),
    pytest.param(b'{"alg":"RS256","alg":"RS256"}', id="a key twice"),
    pytest.param(b'{"alg":"RS256","\\u0061lg":"RS256"}', id="a key twice, once escaped"),
    pytest.param(b'{"alg":"RS256","a":{"b":1,"b":1}}', id="a key twice inside"),
    pytest.param(b'{"alg":"RS256","a":[{"b":1,"b":2}]}', id="a key twice inside a list"),
    pytest.param(b'{"alg":"RS256","a":"\\ud800"}', id="a lone high surrogate"),
    pytest.param(b'{"alg":"RS256","a":"\\uDFFF"}', id="a lone low surrogate"),
    pytest.param(b'{"alg":"RS256","a":"\\udc00\\ud800"}', id="surrogates in the wrong order"),
    pytest.param(b'{"alg":"RS256","\\udc00":1}', id="a lone surrogate in a key"),
    pytest.param(b'{"alg":"RS256","a":["\\ud800"]}', id="a lone surrogate inside a list"),
    pytest.param(b'{"alg":"RS256","a":"\xed\xa0\x80"}', id="a surrogate as bytes"),
    pytest.param(b'{"alg":"RS256","a":"\xff"}', id="not UTF-8"),
    pytest.param(b'{"alg":"RS256","a":"\xc0\xa2"}', id="an overlong quote"),
    pytest.param(b'{"alg":"RS256","a":"\x00"}', id="a raw NUL"),
    pytest.param(b'{"alg":"RS256","a":"\n"}', id="a raw line break"),
    pytest.param(b'{"alg":"RS256","a":"\\x41"}', id="an unknown escape"),
    pytest.param('\ufeff{"alg":"RS256"}'.encode(), id="a byte order mark"),
    pytest.param('{"alg":"RS256"}'.encode("utf-16"), id="UTF-16"),
    pytest.param('{"alg":"RS256"}'.encode("utf-16-le"), id="UTF-16 without a mark"),
    pytest.param('{"alg":"RS256"}'.encode("utf-32"), id="UTF-32"),
    pytest.param(b'{"alg":"RS256","a":' + b"[" * 16 + b"]" * 16 + b"}", id="17 levels"),
    pytest.param(b'{"alg":"RS256","a":' + b'{"a":' * 60 + b"1" + b"}" * 61, id="60 levels"),
    pytest.param(b'{"alg":"RS256","a":' + b"[" * 5000, id="5,000 levels that never close"),
    pytest.param(b'{"alg":"RS256","a":"' + b'\\"' * 2000 + b"[" * 100, id="a string without end"),
    pytest.param(b'{"alg":"RS256","a":"' + b"[" * 100 + b"\\", id="a string that ends escaped"),
]


@pytest.mark.parametrize("text", BAD_JSON)
def test_a_header_that_two_readers_could_read_differently_is_malformed(text: bytes) -> None:
    """JSON's odd corners in the header."""
    assert refusal(token(header=text)) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("text", BAD_JSON)
def test_claims_that_two_readers_could_read_differently_are_malformed(text: bytes) -> None:
    """The same in the claims."""
    assert refusal(token(claims=text)) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b' \t\r\n{"a" : 1}\n', id="white space"),
        pytest.param(b'{"a":"' + b"[{" * 200 + b'"}', id="brackets inside a string"),
        pytest.param(b'{"a":"\\"' + b"[" * 200 + b'\\\\"}', id="brackets after an escaped quote"),
        pytest.param(b'{"a":' + b"[" * 15 + b"]" * 15 + b"}", id="16 levels"),
        pytest.param(b'{"a":[' + b",".join([b"[]"] * 200) + b"]}", id="many lists, not deep"),
        pytest.param(b'{"a":"\\ud83d\\ude00"}', id="a surrogate pair"),
        pytest.param(b'{"a":"\\u0000"}', id="an escaped NUL"),
        pytest.param('{"a":"张三"}'.encode(), id="Chinese"),
        pytest.param(b'{"a":' + b"9" * 64 + b"}", id="an integer of 64 digits"),
        pytest.param(b'{"a":1.7976931348623157e308}', id="the largest float"),
        pytest.param(b'{"a":' + b"0." + b"1" * 3000 + b"}", id="a long fraction"),
        pytest.param(b'{"":1}', id="an empty key"),
    ],
)
def test_json_that_all_readers_read_alike_is_read(text: bytes) -> None:
    """The value is what json makes of it."""
    assert jws.read(token(claims=text)).claims == json.loads(text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('ab[{"\\é'), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values, st.booleans())
def test_sane_json_is_read_as_it_was_meant(value: object, escape: bool) -> None:
    """Whatever a sane writer writes is taken (and is never this deep)."""
    assert strict_json.loads(json.dumps(value, ensure_ascii=escape).encode()) == value


@given(st.integers(1, 40), st.text('[]{}"\\', max_size=40), st.booleans())
def test_depth_is_counted_outside_of_strings(depth: int, text: str, lists: bool) -> None:
    """Brackets inside of a string count for nothing, escaped quotes do not end it."""
    document = json.dumps(text).encode()
    for _ in range(depth):
        document = b"[" + document + b"]" if lists else b'{"\\"[":' + document + b"}"
    if depth <= strict_json.MAX_DEPTH:
        assert strict_json.loads(document) == json.loads(document)
    else:
        with pytest.raises(strict_json.StrictJsonError, match="deeper"):
            strict_json.loads(document)


@given(st.binary(max_size=60) | st.text('{}[]":,\\u0dD8e19.-+ NaIfinty\ufeff').map(str.encode))
def test_rubbish_is_refused_as_such(document: bytes) -> None:
    """Nothing but StrictJsonError comes out, and what is read, json reads alike."""
    try:
        value = strict_json.loads(document)
    except strict_json.StrictJsonError:
        return
    assert json.loads(document) == value


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"{}", id="no alg"),
        pytest.param(b'{"alg":null}', id="alg null"),
        pytest.param(b'{"alg":256}', id="alg a number"),
        pytest.param(b'{"alg":["RS256"]}', id="alg a list"),
        pytest.param(b'{"alg":{"RS256":1}}', id="alg an object"),
        pytest.param(b'{"ALG":"RS256"}', id="alg in capitals"),
        pytest.param(b'{"alg":"RS256","kid":null}', id="kid null"),
        pytest.param(b'{"alg":"RS256","kid":1}', id="kid a number"),
        pytest.param(b'{"alg":"RS256","kid":["k"]}', id="kid a list"),
        pytest.param(b'{"alg":"RS256","kid":{}}', id="kid an object"),
        pytest.param(b'{"alg":"RS256","kid":"' + b"k" * 257 + b'"}', id="kid long"),
        pytest.param(b'{"alg":"RS256","crit":[]}', id="crit empty"),
        pytest.param(b'{"alg":"RS256","crit":["exp"],"exp":1}', id="crit"),
        pytest.param(b'{"alg":"RS256","b64":false,"crit":["b64"]}', id="b64 false"),
        pytest.param(b'{"alg":"RS256","b64":true}', id="b64 true"),
        pytest.param(b'{"alg":"RS256","zip":"DEF"}', id="zip"),
        pytest.param(b'{"alg":"RS256","zip":null}', id="zip null"),
        pytest.param(b'{"alg":"dir","enc":"A256GCM"}', id="enc, as a JWE has"),
        pytest.param(b'{"alg":"RS256","cty":"JWT"}', id="cty, as a nested token has"),
    ],
)
def test_a_header_that_changes_what_the_token_means_is_malformed(header: bytes) -> None:
    """No extension is understood here, so none is skipped."""
    assert refusal(token(header=header)) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"]
)
def test_an_access_token_may_say_that_it_is_one(typ: str) -> None:
    """RFC 7519 and RFC 9068 name these types; case does not matter."""
    jws.read(token(header=json.dumps({"alg": "RS256", "typ": typ}).encode()))


@pytest.mark.parametrize(
    "typ",
    [
        "",
        "JWE",
        "JOSE",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "refresh",
        "rt+jwt",
        "jwt ",
        "jwt\u0130",
        None,
        1,
        ["JWT"],
        {},
    ],
)
def test_a_token_of_another_type_is_of_the_wrong_kind(typ: object) -> None:
    """RFC 8725, section 3.11: a token for another purpose is not an access token."""
    raw = token(header=json.dumps({"alg": "RS256", "typ": typ}).encode())
    assert refusal(raw) is Reason.TOKEN_KIND
