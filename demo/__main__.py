"""Watch real requests pass through a real Envoy, some allowed, some denied with the reason why."""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from demo import console as demo_console
from demo import gateway, placement, recovery, registry, report, revocation, scenario
from demo.envoy import EnvoyMissingError, program
from demo.ports import FIRST_BASE, LAST_BASE, PortInUseError, Ports
from demo.process import Process, ProcessError
from demo.stack import Setup, running

_BASE_PORT = 10000
_USAGE_ERROR = 2
_INTERRUPTED = 130  # what a shell reports for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if every row was as expected or Ctrl-C ended it, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description=__doc__,
        epilog='example: make demo ARGS="--once --base-port 20000"',
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end after the scenario; exit 0 only if every row is as expected",
    )
    parser.add_argument(
        "--base-port",
        type=int,
        default=_BASE_PORT,
        metavar="N",
        help="Envoy's port; every other part takes one of the next (default: %(default)s)",
    )
    args = parser.parse_args(arguments)
    if not FIRST_BASE <= args.base_port <= LAST_BASE:
        print(f"--base-port is a number from {FIRST_BASE} to {LAST_BASE}", file=sys.stderr)
        return _USAGE_ERROR
    return asyncio.run(_until_signal(Ports.from_base(args.base_port), once=args.once))


async def _until_signal(ports: Ports, *, once: bool) -> int:
    """Run the demo; Ctrl-C and SIGTERM end it in order, whatever it is doing."""
    demo = asyncio.create_task(_demo(ports, once=once))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, demo.cancel)
    try:
        return await demo
    except asyncio.CancelledError:
        print("\nEnded; nothing is left running.")  # on a line of its own, below the terminal's ^C
        return _INTERRUPTED if once else 0
    except (EnvoyMissingError, PortInUseError, ProcessError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


async def _demo(ports: Ports, *, once: bool) -> int:
    console = Console(highlight=False)
    program()
    ports.check_free()
    with tempfile.TemporaryDirectory(prefix="zervi-sidecar-demo-") as directory:
        console.print("Starting Zervi, Looma, a Basic Server, the sidecar and a real Envoy ...\n")
        setup = Setup(configure=revocation.configure)
        async with running(ports, Path(directory), setup) as stack, AsyncExitStack() as acts:
            report.print_way(console, stack)
            results = [result async for result in scenario.run(stack)]
            report.print_scenario(console, results)
            report.print_verdict(console, results)
            known = []
            console.print(
                "\n[bold cyan]Zervi revokes tokens and grants a role; then Zervi is down[/]"
            )
            async for observed in revocation.run(stack):
                report.print_observed(console, observed)
                known.append(observed)
            console.print("\n[bold cyan]The sidecar reports its node to Looma[/]")
            async for observed in registry.run(stack):
                report.print_observed(console, observed)
                known.append(observed)
            console.print("\n[bold cyan]A gateway sends each user to one Basic Server[/]")
            before = await acts.enter_async_context(
                gateway.running(stack.directory / "gateway", stack.looma, stack.zervi, stack.secret)
            )
            served = []
            async for each in placement.run(before):
                report.print_served(console, each)
                served.append(each)
            console.print(
                "\n[bold cyan]The console creates an environment; its server is killed[/]"
            )
            own = await acts.enter_async_context(
                demo_console.running(
                    stack.directory / "console",
                    looma=stack.looma.url,
                    zervi=stack.zervi.url,
                    change=recovery.configure,
                )
            )
            async for observed in recovery.run(before, stack.zervi, own):
                report.print_observed(console, observed)
                known.append(observed)
            if not once:
                report.print_listening(console, stack)
                report.print_console(console, own.url)
                report.print_lines_to_copy(console, stack)
                console.print("\nCtrl-C ends everything.", style="bold")
                await asyncio.gather(_tell_end(stack.sidecar), _tell_end(stack.envoy.process))
                await asyncio.Event().wait()
        known.append(registry.left(stack))
        report.print_observed(console, known[-1])
    passed = [
        *(result.passed for result in results),
        *(observed.passed for observed in known),
        *(each.passed for each in served),
    ]
    return 0 if all(passed) else 1


async def _tell_end(process: Process) -> None:
    """Report if a process ends while the demo stays up; the user may have ended it."""
    code = await process.wait()
    print(f"{process.name} has ended (exit {code})", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
