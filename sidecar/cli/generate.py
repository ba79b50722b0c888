"""Print Envoy's configuration for a sidecar.yaml.

Everything that both programs must agree on comes from sidecar.yaml: addresses, header names, CORS
origins, preflights. `doctor` finds what is changed afterwards.
"""

import argparse
import os
import sys
from pathlib import Path

EXAMPLE = "zervi-sidecar generate envoy --config sidecar.yaml > envoy.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is printed, and what sidecar.yaml does not say."""
    parser.add_argument("what", choices=("envoy",), help="Envoy's bootstrap")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="sidecar.yaml")
    parser.add_argument(
        "--mode",
        choices=("sidecar", "gateway"),
        default="sidecar",
        help="beside one Basic Server, or a gateway before all of them; default: sidecar",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="where clients reach Envoy; default: every address (0.0.0.0), at the port of "
        "looma.service, else at 10000",
    )
    parser.add_argument(
        "--upstream",
        metavar="ADDRESS",
        help="where the Basic Server serves requests; default: the host and port of "
        "upstream.probe, else 127.0.0.1:8601",
    )
    parser.add_argument(
        "--upstream-grpc",
        metavar="ADDRESS",
        help="where it serves gRPC; default: the next port",
    )
    parser.add_argument(
        "--remember",
        metavar="DURATION",
        help="experimental: let Envoy remember an allow for this long, at most 5s, instead of "
        "asking about each request; default: it asks (docs/remember.md)",
    )
    parser.add_argument(
        "--stats",
        metavar="ADDRESS",
        help="the address of /ready and /stats/prometheus; default: 127.0.0.1:9901",
    )
    parser.add_argument(
        "--admin",
        metavar="PATH",
        help="the unix socket of Envoy's admin interface; default: /tmp/envoy-admin.sock",
    )
    parser.add_argument(
        "--tls",
        metavar="DIRECTORY",
        help="serve TLS with tls.crt and tls.key of this directory, as Envoy sees it",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write it, by a rename; default: standard output",
    )


def run(args: argparse.Namespace) -> int:
    """Print the configuration; return 1 where sidecar.yaml has errors."""
    from sidecar.config import ConfigError, read_files
    from sidecar.config.addresses import unix_address
    from sidecar.documents.findings import BadValueError
    from sidecar.documents.untyped import at
    from sidecar.workbench.generate.envoy import (
        ADMIN,
        PORT,
        STATS,
        Choices,
        bootstrap,
    )
    from sidecar.workbench.generate.remember import remembered

    admin = args.admin or ADMIN
    for name, check, value in (
        ("--remember", remembered, "1s" if args.remember is None else args.remember),
        ("--admin", unix_address, f"unix:{admin}"),
    ):
        try:
            check(value)
        except BadValueError as wrong:
            print(f"{name} {wrong}", file=sys.stderr)
            return 2
    for name, value in (
        ("--upstream", args.upstream),
        ("--upstream-grpc", args.upstream_grpc),
        ("--remember", args.remember),
    ):
        if args.mode == "gateway" and value is not None:
            print(f"{name} has no effect with --mode gateway", file=sys.stderr)
            return 2
    try:
        # Secrets and the registry are where the sidecar runs, not where this is printed.
        files = read_files(args.config, os.environ, offline=True)
        config = files.config()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if args.mode == "gateway" and config.settings.gateway is None:
        print(f"{args.config}: the mode `gateway` needs the section `gateway`", file=sys.stderr)
        return 1
    listen = args.listen
    if listen is None:
        registered = at(files.document.value, "looma", "service", "port")  # as clients reach Envoy
        listen = f"0.0.0.0:{registered if isinstance(registered, int) else PORT}"
    choices = Choices(
        _command(args),
        args.mode,
        listen,
        args.upstream,
        args.upstream_grpc,
        admin,
        STATS if args.stats is None else args.stats,
        args.tls,
        0 if args.remember is None else remembered(args.remember),
    )
    try:
        text = bootstrap(config, choices)
    except BadValueError as wrong:
        print("; ".join(filter(None, (str(wrong), wrong.help))), file=sys.stderr)
        return 2
    return _written(args.output, text)


def _written(path: Path | None, text: str) -> int:
    """Print the text or write it to a file; return 1 where that fails."""
    if path is None:
        print(text, end="")
        return 0
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # left by a killed process
        with new.open("x", encoding="utf-8") as file:  # never through a link, which others may make
            file.write(text)
        new.replace(path)
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _command(args: argparse.Namespace) -> str:
    given = {
        "mode": args.mode if args.mode != "sidecar" else None,
        "listen": args.listen,
        "upstream": args.upstream,
        "upstream-grpc": args.upstream_grpc,
        "stats": args.stats,
        "admin": args.admin,
        "remember": args.remember,
        "tls": args.tls,
    }
    options = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
    command = f"zervi-sidecar generate envoy --config {args.config}{options}"
    return "".join(each if each.isprintable() else "?" for each in command)  # one line of a comment
