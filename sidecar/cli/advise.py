"""Find routes, roles, permissions and wildcards that no request in a decision log needed.

Exit codes: 0; 1 if no line of the log is usable, or if a proposed table would deny what the log
allowed, which is then not written; 2 for wrong arguments, an invalid policy or an unreadable log.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.logs import log_arguments

if TYPE_CHECKING:
    from sidecar.config import Config
    from sidecar.workbench.advise.proposal import Proposal
    from sidecar.workbench.advise.report import AdviceReport
    from sidecar.workbench.log_fields import Fields

EXAMPLE = "zervi-sidecar advise decisions.log --policy routes.yaml"

INPUT_ERROR = 2
MIN_DAYS = 30.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the logs and the policy."""
    log_arguments(parser)
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the policy of the sidecars")
    parser.add_argument(
        "--min-days",
        type=_days,
        default=MIN_DAYS,
        metavar="DAYS",
        help="the days that a log must cover for advice that removes something; default: 30",
    )
    parser.add_argument(
        "--propose",
        type=Path,
        metavar="FILE",
        help="write a narrower policy that denies no request that the log allowed",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the advice; return 0, 1 if the log proves nothing, 2 for invalid input."""
    from sidecar.app import wiring
    from sidecar.cli.logs import UnreadableLogError, read_logs
    from sidecar.config import ConfigError
    from sidecar.documents.findings import BadValueError
    from sidecar.workbench.advise.findings import advise
    from sidecar.workbench.advise.proposal import NotEditableError
    from sidecar.workbench.advise.report import AdviceReport, as_json, as_text
    from sidecar.workbench.advise.usage import Usage
    from sidecar.workbench.log_fields import FieldsError, parse_fields

    try:
        _check(args)
        fields = parse_fields(args.fields)
        config = _load(args, args.policy) if args.policy or args.config else None
        snapshot = wiring.snapshot(config) if config else None
        usage = Usage(snapshot, time.time(), fields)
        read_logs(args.logs, usage.take)
        report = AdviceReport(
            usage, tuple(advise(usage, snapshot)), args.min_days, snapshot is not None
        )
        if args.propose and config is not None:
            report.proposal = _propose(args, config, fields, report)
    except BadValueError as error:
        print(f"the policy {error}: {error.help}", file=sys.stderr)
        return INPUT_ERROR
    except (ConfigError, FieldsError, UnreadableLogError, NotEditableError, _UsageError) as error:
        print(f"zervi-sidecar advise: {error}", file=sys.stderr)
        return INPUT_ERROR
    print(as_json(report) if args.json else as_text(report))
    if not usage.requests:
        print("zervi-sidecar advise: no line of the log is usable", file=sys.stderr)
        return 1
    return 1 if report.proposal is not None and report.proposal.denied else 0


class _UsageError(Exception):
    """Arguments that do not fit together."""


def _check(args: argparse.Namespace) -> None:
    from sidecar.cli.logs import STANDARD_INPUT

    if not args.propose:
        return
    if args.policy is None:
        raise _UsageError("--propose needs --policy, the table that it makes narrower")
    if STANDARD_INPUT in args.logs:
        raise _UsageError("--propose reads the log twice, so it cannot be standard input")
    if args.propose.exists():
        raise _UsageError(f"{args.propose} exists; --propose writes a new file")


def _load(args: argparse.Namespace, policy: Path | None) -> "Config":
    from sidecar.config import load
    from sidecar.config.load import read_policy
    from sidecar.workbench.case_file import STANDARD

    source = read_policy(policy) if policy else None
    return load(args.config or STANDARD, os.environ, offline=True, policy_file=source)


def _propose(
    args: argparse.Namespace, config: "Config", fields: "Fields | None", report: "AdviceReport"
) -> "Proposal | None":
    """Write a narrower table that the log proves; None where the advice changes nothing."""
    from sidecar.app import wiring
    from sidecar.cli.logs import read_logs
    from sidecar.workbench.advise.proof import Proof
    from sidecar.workbench.advise.proposal import propose

    proposal = propose(args.policy.read_text("utf-8-sig"), config.policy, report.advice)
    if not proposal.changes:
        return proposal
    tried = args.propose.with_name(f".{args.propose.name}.{os.getpid()}")
    try:
        tried.unlink(missing_ok=True)
        with tried.open("x", encoding="utf-8") as file:  # never through a link of another user
            file.write(proposal.text)
        narrower = _narrower(args, tried)
        proof = Proof(wiring.snapshot(config), wiring.snapshot(narrower), time.time(), fields)
        read_logs(args.logs, proof.take)
        proposal.denied, proposal.unproven = proof.denied, proof.replay.cut
        if not proof.denied:
            tried.rename(args.propose)
    except OSError as error:
        raise _UsageError(f"{args.propose} cannot be written: {error.strerror}") from None
    finally:
        tried.unlink(missing_ok=True)
    return proposal


def _narrower(args: argparse.Namespace, tried: Path) -> "Config":
    from sidecar.config import ConfigError
    from sidecar.workbench.advise.proposal import NotEditableError

    try:
        return _load(args, tried)
    except ConfigError as error:
        message = error.findings[0].message
        raise NotEditableError(f"the narrower table would not be valid: {message}") from None


def _days(text: str) -> float:
    """Return a number of days. Raises ValueError, which argparse reports."""
    days = float(text)
    if not 0 <= days <= 3650:
        raise ValueError
    return days
