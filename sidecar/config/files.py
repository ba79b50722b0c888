"""Checks of the files that ``sidecar.yaml`` names: they exist, and their content is valid."""

import ssl
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.config import revocation
from sidecar.config.model import IssuerSection
from sidecar.core.tokens.key_sets import KeySetError, parse_key_set
from sidecar.documents.findings import BadValueError, Place, Problem, dotted, warning
from sidecar.documents.untyped import at, mapping, sequence, texts
from sidecar.documents.values import ALGORITHMS

MAX_PEM_BYTES = 1024 * 1024  # four times a system's whole trust store
MAX_KEY_SET_BYTES = 256 * 1024  # the same limit as for key sets that are fetched


def read_file(path: Path, limit: int) -> bytes:
    """Return a file's content.

    Raises BadValueError, whose message continues after the file's purpose ("the policy cannot be
    read"). Its help is the path; callers replace it where the value may be a secret by mistake.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        reason = error.strerror or "unknown error"
        raise BadValueError(f"cannot be read: {reason}", _shown(path)) from None
    except ValueError:  # a NUL in the path
        raise BadValueError("cannot be read: its name contains a NUL") from None
    if len(content) > limit:
        raise BadValueError(f"is larger than {limit // 1024} KiB", _shown(path))
    return content


def _shown(path: Path) -> str:
    """Return a path for a message; empty where a key's text was written instead of a path."""
    text = str(path)
    return text if text.isprintable() and "-----BEGIN" not in text else ""


def problems(document: object, base: Path) -> Iterator[Problem]:
    """Yield every problem with the certificates, keys and key sets that a configuration names."""
    yield from _admin_directory(at(document, "listen", "admin"))
    for above, authorities in ((("listen", "tls"), "client_ca_file"), (("looma",), "ca_file")):
        section = mapping(at(document, *above))
        yield from _pair(section, above, base)
        yield from _authorities(section, (*above, authorities), base)
    allocations = mapping(at(document, "gateway", "allocations"))
    yield from _authorities(allocations, ("gateway", "allocations", "ca_file"), base)
    for index, issuer in enumerate(sequence(at(document, "zervi", "issuers"))):
        place: Place = ("zervi", "issuers", index)
        yield from _authorities(mapping(issuer), (*place, "ca_file"), base)
        yield from _key_set(mapping(issuer), (*place, "jwks_file"), base)
        introspection = mapping(mapping(issuer).get("introspection"))
        yield from _authorities(introspection, (*place, "introspection", "ca_file"), base)
        for name in texts(mapping(issuer).get("jwks_token_file")):
            try:
                read_file(Path(base, name), MAX_PEM_BYTES)
            except BadValueError as wrong:  # without the path: it may be a token, pasted by mistake
                yield Problem((*place, "jwks_token_file"), "file", f"`jwks_token_file` {wrong}")
    permissions = mapping(at(document, "zervi", "permissions"))
    yield from _authorities(permissions, ("zervi", "permissions", "ca_file"), base)
    yield from _revocation(document, base)
    for above in (("zervi", "jwks"), revocation.PLACE, ("gateway",)):
        for name in texts(at(document, *above, "snapshot_file")):
            directory = Path(base, name).parent
            if not _is_directory(directory):
                message = "the directory of `snapshot_file` does not exist"
                yield Problem((*above, "snapshot_file"), "file", message, str(directory))


def _revocation(document: object, base: Path) -> Iterator[Problem]:
    place = revocation.PLACE
    yield from revocation.missing_extra(document)
    feed = mapping(at(document, *place))
    yield from _authorities(feed, (*place, "ca_file"), base)
    yield from _pair(feed, place, base)
    for name in texts(mapping(feed.get("token")).get("file")):
        try:
            read_file(Path(base, name), MAX_PEM_BYTES)
        except BadValueError as wrong:  # without the path: it may be a token, pasted by mistake
            yield Problem((*place, "token", "file"), "file", f"`token.file` {wrong}")


def _admin_directory(address: object) -> Iterator[Problem]:
    """Yield a warning if other users could replace the admin socket in its directory.

    A volume mounted there belongs to the sidecar, whatever its mode: Kubernetes creates an
    emptyDir with mode 0777. A directory with the sticky bit is shared by the whole machine.
    """
    if not isinstance(address, str) or not address.startswith("unix:/"):
        return
    directory = Path(address.removeprefix("unix:")).parent
    try:
        mode = directory.stat().st_mode
        own_volume = directory.is_mount() and not mode & stat.S_ISVTX
    except OSError:
        return  # a missing directory is an error when the sidecar listens
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not own_volume:
        yield warning(
            ("listen", "admin"),
            "open-admin",
            f"other users can write to {directory} and can replace this socket with their own",
            "use a separate directory with the mode 0700",
        )


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long a name, or a directory on the way that may not be searched
        return False


def _pair(section: Mapping[str, object], above: Place, base: Path) -> Iterator[Problem]:
    """Yield every problem with a section's ``cert_file`` and ``key_file``."""
    readable: list[Path] = []
    for key in ("cert_file", "key_file"):
        name = section.get(key)
        if isinstance(name, str):
            try:
                read_file(Path(base, name), MAX_PEM_BYTES)
                readable.append(Path(base, name))
            except BadValueError as wrong:
                place = (*above, key)
                hint = wrong.help
                if key == "key_file" and not name.endswith((".pem", ".key")):
                    hint = f"`{dotted(place)}` must be the path of a file that contains the key"
                yield Problem(place, "file", f"`{key}` {wrong}", hint)
    if len(readable) == 2:
        yield from _fitting(readable[0], readable[1], above)


def _fitting(certificate: Path, key: Path, above: Place) -> Iterator[Problem]:
    def refuse() -> str:
        raise BadValueError("`key_file` is encrypted", "encrypted private keys are not supported")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse)
    except BadValueError as wrong:
        yield Problem((*above, "key_file"), "file", str(wrong), wrong.help)
    except OSError as error:  # ssl.SSLError among them
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            message = "the key in `key_file` does not match the certificate in `cert_file`"
            yield Problem((*above, "key_file"), "file", message)
        else:
            message = "`cert_file` and `key_file` are not a certificate and its key in PEM format"
            yield Problem((*above, "cert_file"), "file", message)


def _authorities(section: Mapping[str, object], place: Place, base: Path) -> Iterator[Problem]:
    for name in texts(section.get(str(place[-1]))):
        try:
            read_file(Path(base, name), MAX_PEM_BYTES)
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(Path(base, name))
        except BadValueError as wrong:
            yield Problem(place, "file", f"`{place[-1]}` {wrong}", wrong.help)
        except OSError:  # ssl.SSLError among them
            yield Problem(
                place,
                "file",
                f"`{place[-1]}` contains no certificates in PEM format",
                _shown(Path(base, name)),
            )


def _key_set(issuer: Mapping[str, object], place: Place, base: Path) -> Iterator[Problem]:
    named = frozenset(texts(issuer.get("algorithms"))) & frozenset(ALGORITHMS)
    algorithms = named or frozenset(IssuerSection.algorithms)
    for name in texts(issuer.get("jwks_file")):
        try:
            content = read_file(Path(base, name), MAX_KEY_SET_BYTES)
            keys = parse_key_set(content, algorithms=algorithms, fetched_at=0.0)
            if keys.dropped:
                message = f"some keys in `jwks_file` are not used: {keys.dropped}"
                yield warning(place, "unused-keys", message)
        except BadValueError as wrong:
            yield Problem(place, "file", f"`jwks_file` {wrong}", wrong.help)
        except KeySetError as error:
            yield Problem(
                place,
                "file",
                f"`jwks_file` contains no usable key set: {error}",
                _shown(Path(base, name)),
            )
