"""Compare logged decisions with those of another policy, and list the changes.

Exit codes: 0 if no request is newly allowed (or with --accept); 1 if one is, if no request could be
judged, or if more than --max-unknown could not; 2 for wrong arguments, an invalid policy or an
unreadable log.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.logs import log_arguments

if TYPE_CHECKING:
    from sidecar.workbench.replay import Replay

EXAMPLE = "zervi-sidecar replay decisions.log --policy routes.yaml --config sidecar.yaml"

INPUT_ERROR = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the logs and the policy."""
    log_arguments(parser)
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="the new policy")
    parser.add_argument(
        "--max-unknown",
        type=percentage,
        default=100.0,
        metavar="PERCENT",
        help="exit 1 if more of the requests cannot be judged; default: 100",
    )
    parser.add_argument(
        "--accept", action="store_true", help="exit 0 even if requests are newly allowed"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the changes; return 0, 1 if they fail the check, 2 for invalid input."""
    from sidecar.app import wiring
    from sidecar.cli.logs import UnreadableLogError, read_logs
    from sidecar.config import ConfigError, load
    from sidecar.config.load import read_policy
    from sidecar.documents.findings import BadValueError
    from sidecar.workbench.case_file import STANDARD
    from sidecar.workbench.log_fields import FieldsError, parse_fields
    from sidecar.workbench.replay import Kind, Replay

    try:
        fields = parse_fields(args.fields)
        source = read_policy(args.policy)
        config = load(args.config or STANDARD, os.environ, offline=True, policy_file=source)
    except BadValueError as error:
        print(f"the policy {error}: {error.help}", file=sys.stderr)
        return INPUT_ERROR
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)
        return INPUT_ERROR
    except FieldsError as error:
        print(f"zervi-sidecar replay: {error}", file=sys.stderr)
        return INPUT_ERROR
    replay = Replay(wiring.snapshot(config), time.time(), fields)
    try:
        read_logs(args.logs, replay.take)
    except UnreadableLogError as error:
        print(error, file=sys.stderr)
        return INPUT_ERROR
    print(_as_json(replay)) if args.json else _print(replay)
    too_little = _too_little(replay, args.max_unknown)
    if too_little:
        print(f"zervi-sidecar replay: {too_little}", file=sys.stderr)
    return 1 if too_little or (replay.count(Kind.NEWLY_ALLOWED) and not args.accept) else 0


def percentage(text: str) -> float:
    """Return a share from 0 to 100. Raises ValueError, which argparse reports."""
    percent = float(text)
    if not 0 <= percent <= 100:
        raise ValueError
    return percent


def _too_little(replay: "Replay", max_unknown: float) -> str:
    """Return why too few requests could be judged; empty if enough could."""
    if replay.requests == replay.unknown:
        return "no request could be judged, so the result says nothing about the policy"
    share = 100 * replay.unknown / replay.requests
    if share > max_unknown:
        return f"{share:.1f} % of the requests cannot be judged, more than {max_unknown:g} %"
    return ""


def _print(replay: "Replay") -> None:
    from sidecar.documents.findings import one_line
    from sidecar.workbench.formats import counted

    heading = ""
    for group, changes in replay.sorted_groups():
        if group.kind != heading:
            heading = group.kind
            print(f"{heading}:")
        times = counted(changes.count, "request")
        print(f"  {one_line(group.route)}: {group.old} -> {group.new}, {times}")
        for (method, path, subject), count in changes.samples.most_common():
            by = f" by {subject}" if subject else ""
            print(one_line(f"    {count:>7} {method} {path}{by}"))
        others = changes.count - sum(changes.samples.values())
        if others:
            print(f"    {others:>7} other requests")
    for note in _notes(replay):
        print(f"note: {note}")
    print(_summary(replay))


def _summary(replay: "Replay") -> str:
    """Return one line, such as for a pull request."""
    from sidecar.workbench.formats import counted
    from sidecar.workbench.replay import Kind

    counts = ", ".join(f"{replay.count(kind):,} {kind}" for kind in Kind)
    return f"replay: {counted(replay.requests, 'request')}; {counts}; {replay.unknown:,} unknown"


def _notes(replay: "Replay") -> list[str]:
    from sidecar.workbench.formats import counted

    notes = [f"{counted(count, 'line')} skipped: {why}" for why, count in replay.unusable.items()]
    if replay.requests and not replay.allowed:
        notes.append(
            "the log contains only denials (log.decisions: denied), so newly denied requests "
            "cannot be found; log.decisions: all logs the rest"
        )
    if replay.cut:
        cut = counted(replay.cut, "request")
        notes.append(f"{cut} cannot be judged: the log contains the path cut (`...`) or masked")
    if replay.unknown > replay.cut:
        notes.append(
            f"{counted(replay.unknown - replay.cut, 'request')} cannot be judged: the log does not "
            "contain the caller, or the caller's roles and permissions (log.replayable: true adds "
            "them)"
        )
    return notes


def _as_json(replay: "Replay") -> str:
    changes = [
        {
            "kind": group.kind,
            "route": group.route,
            "old": group.old,
            "new": group.new,
            "count": changes.count,
            "samples": [
                {"method": method, "path": path, "subject": subject, "count": count}
                for (method, path, subject), count in changes.samples.most_common()
            ],
        }
        for group, changes in replay.sorted_groups()
    ]
    body = {
        "requests": replay.requests,
        "unknown": replay.unknown,
        "unusable": dict(replay.unusable),
        "changes": changes,
        "notes": _notes(replay),
        "summary": _summary(replay),
    }
    return json.dumps(body)
