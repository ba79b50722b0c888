"""Measure cost per check, memory and start: ``make bench``, or ``python -m bench``."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import imports, load, look_ups, offline, rounds, sections
from bench.figures import Results
from bench.picture import draw
from bench.processes import CommandError, check_out
from bench.report import show, write
from bench.rounds import Plan
from bench.signature import verification_micros
from bench.world import World
from demo.process import ProcessError
from demo.zervi import start_zervi

FULL = Plan(rounds=5, seconds=2)
QUICK = Plan(rounds=2, seconds=1)  # a smoke test; too short to rely on
ALL = ("start", *sections.SECTIONS, "lookups", "offline")
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested sections; return 1 if a command failed or an answer was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog="example: python -m bench --only envoy"
    )
    parser.add_argument("--quick", action="store_true", help="two short rounds instead of five")
    parser.add_argument("--only", action="append", choices=ALL, help="measure only this section")
    parser.add_argument(
        "--against", metavar="COMMIT", help="measure an earlier commit too, and print ratios"
    )
    parser.add_argument(
        "--json", type=Path, default=RESULTS / "bench.json", help="file for the figures"
    )
    parser.add_argument(
        "--plot", type=Path, default=RESULTS / "bench.png", help="file for the picture"
    )
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else FULL
    wanted = options.only or list(ALL)
    if lacking := load.missing():
        print(f"Some sections need programs that are missing: apt-get install {' '.join(lacking)}")
    try:
        results = asyncio.run(measure(wanted, plan, options.against))
    except (CommandError, ProcessError, load.LoadError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    about = {**rounds.machine(), **plan._asdict()}
    show(results, about)
    write(results, about, options.json)
    print(f"figures: {options.json}")
    if draw(results, options.plot):
        print(f"picture: {options.plot}")
    return 0


async def measure(wanted: Sequence[str], plan: Plan, against: str | None = None) -> Results:
    """Run the sections. Raises CommandError, ProcessError, LoadError.

    ``against`` is a commit of this repository that is measured beside this tree.
    """
    results = Results()
    with tempfile.TemporaryDirectory(prefix="zervi-bench-") as directory:
        zervi = await start_zervi(0, b"")
        try:
            key = zervi.keys[0]
            before = None
            if against is not None:
                before = Path(tempfile.mkdtemp(dir=directory))
                await check_out(against, before)
            world = World(key, zervi.jwks_url, Path(directory), plan, before)
            if "start" in wanted:
                results.footprints = await sections.start(world)
                results.imports = await imports.measure(plan.rounds)
            if "tokens" in wanted:
                results.signature = verification_micros(key)
            for name, section in sections.SECTIONS.items():
                if name in wanted and sections.possible(name):
                    results.rows += await section(world)
            if "lookups" in wanted:
                results.look_ups = await look_ups.measure(zervi)
            if "offline" in wanted:
                results.offline = await offline.measure(world.directory)
        finally:
            await zervi.stop()
    return results


if __name__ == "__main__":
    sys.exit(main())
