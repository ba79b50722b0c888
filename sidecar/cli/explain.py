"""Show the decision on a request, and why, step by step, without a running sidecar.

A logged request gets a verdict only if the log contains enough for one. Exit codes: 0 if the
request is explained, whether allowed or denied; 1 if the configuration or the fixtures have errors;
2 for wrong arguments.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.logs import fields_argument

if TYPE_CHECKING:
    from sidecar.config import Config
    from sidecar.core.request import Request
    from sidecar.core.snapshot import Snapshot
    from sidecar.workbench.assumed import Assumed
    from sidecar.workbench.engine import PolicyEngine
    from sidecar.workbench.logs import Logged
    from sidecar.workbench.principals import Caller
    from sidecar.zervi.interface import JwksUrl

EXAMPLE = "zervi-sidecar explain --config sidecar.yaml --path /api/x --claims '{\"user_id\": 7}'"

CONFIG_ERROR = 1
USAGE_ERROR = 2
STDIN = "-"


class _CallError(Exception):
    """The arguments are wrong."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the request and its caller."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="sidecar.yaml")
    parser.add_argument("--method", default="GET", help="default: GET")
    parser.add_argument("--path", help="the path, with its query if there is one")
    parser.add_argument("--host", default="localhost", help="default: localhost")
    parser.add_argument(
        "--header", action="append", default=[], metavar="K:V", help="a header; may be repeated"
    )
    parser.add_argument(
        "--peer", default="", metavar="ID", help="the caller's mesh identity (source.principal)"
    )
    caller = parser.add_mutually_exclusive_group()
    caller.add_argument("--token", help="a complete token; - reads it from standard input")
    caller.add_argument("--claims", metavar="FILE|JSON", help="claims that count as verified")
    parser.add_argument(
        "--service-claims",
        metavar="FILE|JSON",
        help="claims of the service's token beside the caller's, which count as verified",
    )
    caller.add_argument("--as", dest="name", metavar="NAME", help="a principal in --fixtures")
    caller.add_argument("--decision-id", metavar="ID", help="a logged request (see --log)")
    parser.add_argument(
        "--fixtures",
        type=Path,
        metavar="FILE",
        help="the fixtures, or a case file, with the principals for --as",
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="a decision log; default: standard input"
    )
    fields_argument(parser)
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument(
        "--jwks", type=Path, metavar="FILE", help="key set for issuers with jwks_url or discovery"
    )
    keys.add_argument("--fetch", action="store_true", help="fetch each key set that has a URL")
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="FILE",
        help="for a gateway: the JSON of Looma's membership view, and its allocations",
    )
    parser.add_argument(
        "--permissions",
        metavar="NAMES|FILE|JSON",
        help="the assumed answer of zervi.permissions: names with commas, or as Zervi answers",
    )
    parser.add_argument(
        "--introspection",
        metavar="FILE|JSON",
        help="the assumed answer of the issuer's introspection",
    )
    parser.add_argument(
        "--revocations",
        type=Path,
        metavar="FILE",
        help="revoked tokens: a page of the feed of zervi.revocation, or its snapshot_file",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the explanation; return 0, 1 for a bad configuration, 2 for a bad call."""
    from sidecar.config import ConfigError, load
    from sidecar.workbench.engine import PolicyEngine
    from sidecar.workbench.explain import Explainer
    from sidecar.workbench.explain_logged import explain_logged
    from sidecar.workbench.principals import UnknownIssuerError

    try:
        config = load(args.config, os.environ, offline=True)
        engine = PolicyEngine(config, time.time())
        if args.jwks or args.fetch:
            engine.snapshot = _with_keys(engine.snapshot, config, args.jwks, engine.now)
        if args.directory is not None:
            engine.snapshot = _with_directory(engine.snapshot, config, args.directory)
        engine.assumed = _assumed(args, config)
        if args.revocations is not None:
            _revoke(args.revocations, engine, config)
        in_gateway = config.settings.gateway is not None
        file = str(config.settings.policy.file)
        explainer = Explainer(engine, file, config.route_lines, in_gateway=in_gateway)
        if args.decision_id is not None:
            logged = _logged(args)
            request = logged.request
            explanation = explain_logged(explainer, logged)
        else:
            if args.token is not None:
                _warn_of_missing_secrets(config)
            request = _asked(args)
            service = _service(args, engine)
            explanation = explainer.explain(request, _caller(args), service=service)
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)
        return CONFIG_ERROR
    except (_CallError, UnknownIssuerError) as error:
        print(f"zervi-sidecar explain: {error}", file=sys.stderr)
        return USAGE_ERROR
    from sidecar.workbench import present

    route = explanation.judged.decision.route
    if args.json:
        print(present.as_json(explanation, explainer.place(route) if route else None))
        return 0
    from rich.console import Console

    asked = f"{request.method} {request.target.decode('ascii', 'replace')} (host {request.host})"
    present.show(explanation, asked, Console(highlight=False))
    return 0


def _warn_of_missing_secrets(config: "Config") -> None:
    """Warn of issuers whose secrets are not set, so that their tokens cannot be verified."""
    for settings, issuer in zip(config.settings.zervi.issuers, config.issuers, strict=True):
        if settings.secret_env is not None and not issuer.secrets:
            names = " and ".join(settings.secret_env)
            print(
                f"warning: {names} is not set, so tokens of {issuer.name} cannot be verified; "
                "set it to the sidecar's value, or use --claims",
                file=sys.stderr,
            )


def _asked(args: argparse.Namespace) -> "Request":
    """Return the request."""
    from sidecar.workbench.engine import request_of

    if args.path is None:
        raise _CallError("--path or --decision-id is required")
    headers: dict[str, list[str]] = {}
    for header in args.header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise _CallError(f"--header takes NAME:VALUE, not {header!r}")
        headers.setdefault(name.strip(), []).append(value.strip())
    return request_of(args.method, args.path, args.host, headers, args.peer)


def _caller(args: argparse.Namespace) -> "Caller":
    from sidecar.workbench.case_file import caller_of, read_principals
    from sidecar.workbench.principals import GivenClaims

    if args.token is not None:
        from_stdin: bool = args.token == STDIN
        token = sys.stdin.read().strip() if from_stdin else args.token
        return token.removeprefix("Bearer ").encode()
    if args.claims is not None:
        return GivenClaims(_claims(args.claims, "--claims"))
    if args.name is None or args.name == "nobody":
        return None
    if args.fixtures is None:
        raise _CallError("--as needs --fixtures, the file with the principals")
    principals = read_principals(args.fixtures)
    if args.name not in principals:
        raise _CallError(
            f"{args.fixtures} has no principal {args.name!r}, only {', '.join(principals)}"
        )
    return caller_of(principals[args.name])


def _service(args: argparse.Namespace, engine: "PolicyEngine") -> "Caller":
    """Return the service that calls for the caller. Raises _CallError."""
    from sidecar.workbench.principals import GivenClaims

    if args.service_claims is None:
        return None
    if not engine.snapshot.service_token_sources:
        raise _CallError("--service-claims needs zervi.service_token_sources in the configuration")
    return GivenClaims(_claims(args.service_claims, "--service-claims"))


def _assumed(args: argparse.Namespace, config: "Config") -> "Assumed":
    """Return the answers that the options give to look-ups. Raises _CallError."""
    from sidecar.workbench.assumed import Assumed

    zervi, permissions, verdict = config.settings.zervi, None, None
    asked = next((each.introspection for each in zervi.issuers if each.introspection), None)
    if args.permissions is not None:
        if zervi.permissions is None:
            raise _CallError("--permissions needs zervi.permissions in the configuration")
        text = args.permissions
        named = not text.lstrip().startswith(("{", "[")) and not Path(text).is_file()
        parts = [part.strip() for part in text.split(",") if part.strip()]
        permissions = parts if named else _json(text, "--permissions")
    if args.introspection is not None:
        if asked is None:
            raise _CallError("--introspection needs an issuer with introspection")
        verdict = _claims(args.introspection, "--introspection")
    return Assumed(permissions, verdict, "rfc7662" if asked is None else asked.kind)


def _revoke(path: Path, engine: "PolicyEngine", config: "Config") -> None:
    """Compare tokens with the entries in a file. Raises _CallError."""
    from sidecar.app import wiring
    from sidecar.workbench.revoked import FeedFileError, read_feed

    settings = wiring.revocation(config)
    if settings is None:
        raise _CallError("--revocations needs zervi.revocation in the configuration")
    try:
        engine.revoke(read_feed(path, settings, engine.now))
    except FeedFileError as error:
        raise _CallError(f"--revocations: {error}") from None


def _claims(text: str, option: str) -> dict[str, object]:
    """Return claims from JSON text, or from the file with that name."""
    claims = _json(text, option)
    if not isinstance(claims, dict):
        raise _CallError(f"{option} is not a JSON object")
    return claims


def _json(text: str, option: str) -> object:
    """Return the value of JSON text, or of the file with that name."""
    try:
        if not text.lstrip().startswith(("{", "[")):
            text = Path(text).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise _CallError(f"{option}: {text} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise _CallError(f"{option} is neither JSON nor a file that holds JSON") from None


def _logged(args: argparse.Namespace) -> "Logged":
    from sidecar.workbench.log_fields import FieldsError, parse_fields
    from sidecar.workbench.log_lines import lines_of
    from sidecar.workbench.logs import find

    try:
        fields = parse_fields(args.fields)
        if args.log is not None:
            with args.log.open("rb") as lines:
                logged = find(lines_of(lines), args.decision_id, fields)
        else:
            logged = find(lines_of(sys.stdin.buffer), args.decision_id, fields)
    except OSError as error:
        raise _CallError(f"--log: {args.log} cannot be read: {error.strerror}") from None
    except FieldsError as error:
        raise _CallError(str(error)) from None
    if isinstance(logged, str):
        raise _CallError(logged)
    return logged


def _with_directory(snapshot: "Snapshot", config: "Config", path: Path) -> "Snapshot":
    """Return the snapshot of a gateway that has read this directory."""
    from sidecar.workbench.directory_file import DirectoryError, placements_of

    try:
        return snapshot._replace(placements=placements_of(path, config))
    except DirectoryError as error:
        raise _CallError(f"--directory: {error}") from None


def _with_keys(snapshot: "Snapshot", config: "Config", path: Path | None, now: float) -> "Snapshot":
    """Return the snapshot with key sets for each ``jwks_url``, from a file or fetched."""
    from sidecar.app.wiring import key_sources
    from sidecar.core.tokens.key_sets import KeySetError, parse_key_set
    from sidecar.zervi.interface import FetchError, JwksUrl

    issuers = list(snapshot.issuers)
    for index, source in enumerate(key_sources(config)):
        if not isinstance(source, JwksUrl):
            continue
        try:
            document = _fetched(source, config) if path is None else path.read_bytes()
            keys = parse_key_set(document, algorithms=source.algorithms, fetched_at=now)
        except OSError as error:
            raise _CallError(f"--jwks: {path} cannot be read: {error.strerror}") from None
        except FetchError as error:
            # The others may be enough.
            text = f"warning: no key set of {source.issuer}: {error.cause}; {error.advice}"
            print(text, file=sys.stderr)
            continue
        except KeySetError as error:
            place = f"--fetch: {source.issuer}'s" if path is None else f"--jwks: {path}"
            raise _CallError(f"{place} is not a usable key set: {error}") from None
        issuers[index] = issuers[index]._replace(keys=keys)
    return snapshot._replace(issuers=tuple(issuers))


def _fetched(source: "JwksUrl", config: "Config") -> bytes:
    """Fetch a key set as `serve` does. Raises FetchError."""
    import asyncio

    from sidecar.zervi.interface import FetchError
    from sidecar.zervi.keyring import http_fetcher

    seconds = config.settings.zervi.jwks.timeout

    async def fetch() -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return (await http_fetcher(source).fetch(None)).body or b""
        except TimeoutError:
            cause = f"no answer within {seconds:g} s"
            raise FetchError(
                cause, "check that the server runs, and `zervi.jwks.timeout`"
            ) from None

    return asyncio.run(fetch())
