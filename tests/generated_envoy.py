"""Says whether ``envoy/`` is what ``generate envoy`` prints (part of ``make check``).

``--write`` (``make envoy``) writes the files.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    "envoy/envoy.yaml": "--config envoy/sidecar.yaml",
    "envoy/envoy-uds.yaml": "--config envoy/sidecar-uds.yaml",
    "envoy/envoy-remember.yaml": "--config envoy/sidecar.yaml --remember 1s",
    "envoy/envoy-gateway.yaml": "--config envoy/sidecar-gateway.yaml --mode gateway",
}
CONSOLE = "envoy/console/envoy.yaml"
OF_CONSOLE = "--config envoy/console/sidecar.yaml"
KUBERNETES = "envoy/kubernetes.yaml"
IN_A_POD = "--config envoy/sidecar-uds.yaml --admin /run/envoy/admin.sock --stats 0.0.0.0:9901"
BEGIN = "  envoy.yaml: |\n"

# What the console adds: its streams last five minutes, and then it ends them itself.
LAST_ROUTE = """\
                        - match: {prefix: /}
                          route:
                            cluster: basic-server
"""
STREAMS = """\
                        - match: {path: /api/events} # of the console: server-sent events
                          route:
                            cluster: basic-server
                            timeout: 330s
"""


def expected() -> dict[str, str]:
    """Return the content of each file, by its path."""
    texts = {name: _generated(arguments) for name, arguments in FILES.items()}
    plain = _generated(OF_CONSOLE)
    if plain.count(LAST_ROUTE) != 1:
        raise ValueError("the generated routes are others than STREAMS is for")
    texts[CONSOLE] = plain.replace(LAST_ROUTE, STREAMS + LAST_ROUTE)
    manifest = (ROOT / KUBERNETES).read_text()
    bare = textwrap.indent(_without_comments(_generated(IN_A_POD)), "    ")
    texts[KUBERNETES] = manifest[: manifest.index(BEGIN) + len(BEGIN)] + bare
    return texts


def main(arguments: list[str]) -> int:
    """Compare or write; 1 where files differ."""
    write = arguments == ["--write"]
    differing = {
        name: text
        for name, text in expected().items()
        if not (ROOT / name).exists() or (ROOT / name).read_text() != text
    }
    for name, text in differing.items():
        if write:
            (ROOT / name).write_text(text)
        else:
            print(f"{name} is not what `generate envoy` prints: run `make envoy`", file=sys.stderr)
    return 1 if differing and not write else 0


def _generated(arguments: str) -> str:
    command = [sys.executable, "-m", "sidecar", "generate", "envoy", *arguments.split()]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _without_comments(text: str) -> str:
    lines = (re.sub(r"(^| +)# .*$|^#$", "", line) for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line.strip() not in ("", "#"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
