"""Get the packages of the servers that are not in Python: an explicit command, never a test.

``python -m tests.upstreams.install`` gets those that ``make test`` observes again.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.upstreams.elsewhere import BOOT_5, BOOT_7, INSTALLED
from tests.upstreams.servers import PROGRAMS

NPM = (
    "express@5.3.0",
    "express4@npm:express@4.22.3",
    "koa@3.3.0",
    "@koa/router@15.7.0",
    "fastify@5.12.8",
    "@hapi/hapi@21.4.10",
    "method-override@3.0.0",
)
DEBIAN = (
    *("nginx-light", "php-fpm", "php-symfony-http-kernel", "php-symfony-routing"),
    *("php-illuminate-routing", "php-illuminate-http", "php-illuminate-events"),
    *("puma", "ruby-actionpack", "ruby-sinatra"),
)


def _run(command: list[str], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    print(" ".join(command))
    subprocess.run(command, cwd=directory, check=True)


def _spring(boot: str) -> None:
    directory = INSTALLED / "spring" / boot
    sources = directory / "src" / "main" / "java" / "upstream"
    sources.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROGRAMS / "spring" / "Upstream.java", sources)
    pom = (PROGRAMS / "spring" / "pom.xml").read_text()
    (directory / "pom.xml").write_text(pom.replace("BOOT_VERSION", boot))
    _run(["mvn", "--quiet", "--batch-mode", "package"], directory)


def install_quick() -> None:
    """Install the servers of Node.js and Go, each where its package manager is available.

    Raises CalledProcessError where one of them fails.
    """
    if shutil.which("npm"):
        _run(["npm", "install", "--no-audit", "--no-fund", *NPM], INSTALLED / "node")
    if shutil.which("go"):
        go = INSTALLED / "go"
        go.mkdir(parents=True, exist_ok=True)
        for file in (PROGRAMS / "go").iterdir():
            shutil.copy(file, go)
        _run(["go", "build", "-o", "driver", "."], go)


def install() -> None:
    """Install for each program that is available; print the Debian packages of the others.

    Raises CalledProcessError where one of them fails.
    """
    install_quick()
    if shutil.which("mvn"):
        _spring(BOOT_5)
        _spring(BOOT_7)
    python = INSTALLED / "python"
    _run([sys.executable, "-m", "venv", str(python)], INSTALLED)
    _run([str(python / "bin" / "pip"), "install", "--quiet", "sanic==25.12.1"], INSTALLED)
    print(f"the others are Debian packages: apt-get install {' '.join(DEBIAN)}")


if __name__ == "__main__":
    install_quick()
