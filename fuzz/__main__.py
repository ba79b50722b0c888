"""``python -m fuzz [--seconds N] [TARGET ...]``: each target in its own process."""

import argparse
import importlib.util
import subprocess
import sys

SECONDS = 60
NAMES = ("checks", "paths", "tokens", "frames", "blocks")


def main() -> int:
    """Fuzz each target for ``--seconds``; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="fuzz", description="Fuzz the parsers of untrusted input."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="per target")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.targets or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown target: {', '.join(sorted(unknown))}")
    if given.here:
        return fuzz(names[0], given.seconds)
    failed = []
    for name in names:
        command = [sys.executable, "-m", "fuzz", "--here", "--seconds", str(given.seconds), name]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 -- this program
            failed.append(name)
    print("FAILED: " + ", ".join(failed) if failed else "nothing found")
    return 1 if failed else 0


def fuzz(name: str, seconds: int) -> int:
    """Fuzz one target in this process."""
    guided = importlib.util.find_spec("atheris") is not None
    print(f"{name}: {seconds} s, {'atheris' if guided else 'hypothesis'}", flush=True)
    if guided:
        import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # -- see above

        with atheris.instrument_imports(include=["sidecar"], enable_loader_override=False):
            from fuzz.targets import TARGETS
    else:
        from fuzz.targets import TARGETS
    from fuzz.engine import bounded, with_atheris, with_hypothesis

    target = TARGETS[name]
    seeds = list(target.seeds())
    run = bounded(target.run, seeds)
    if guided:
        with_atheris(run, seeds, seconds)
    else:
        print(f"{name}: {with_hypothesis(run, seeds, seconds)} inputs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
