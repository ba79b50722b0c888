"""Servers that are observed if their programs are installed: Node, Go, nginx, PHP, Ruby, Java."""

import os
import shlex
import shutil
from functools import partial
from pathlib import Path

from tests.upstreams.programs.common import rewrite
from tests.upstreams.scenario import (
    CASES,
    FRONT_CONTROLLERS,
    METHODS,
    REQUESTS,
    ROUTES,
    Registered,
    Sent,
)
from tests.upstreams.servers import PROGRAMS, REPOSITORY, TABLE, Server

INSTALLED = Path(os.environ.get("ZERVI_UPSTREAMS", REPOSITORY / ".upstreams"))
"""Where ``python -m tests.upstreams --install`` puts packages; nothing of it is in git."""


def _missing(*programs: str, file: Path | None = None) -> str | None:
    lacking = [name for name in programs if shutil.which(name) is None]
    if lacking:
        return f"there is no {lacking[0]} here"
    if file is not None and not file.exists():
        return f"there is no {file}: run python -m tests.upstreams --install"
    return None


def _node(name: str, requests: tuple[Sent, ...] = REQUESTS) -> Server:
    modules = INSTALLED / "node" / "node_modules"
    program = str(PROGRAMS / "node_servers.js")
    return Server(
        name,
        lambda _, port: ["node", program, name, str(port), TABLE],
        lambda: _missing("node", file=modules),
        {"NODE_PATH": str(modules)},
        requests,
    )


NODE = (
    _node("express4"),
    _node("express5"),
    _node("express5-method-override", METHODS),
    _node("express5-mounted"),
    _node("koa"),
    _node("fastify"),
    _node("hapi"),
    _node("node-url"),
)


def _go(name: str) -> Server:
    program = INSTALLED / "go" / "driver"
    return Server(
        f"go-{name}",
        lambda _, port: [str(program), name, str(port), TABLE],
        lambda: _missing(file=program),
    )


GO = tuple(map(_go, ("servemux", "chi", "gin", "echo", "gorilla", "fiber")))


def _location(route: Registered, *, ignore_case: bool) -> str:
    """Write a route as nginx's documentation does: as it is, by prefix, or by an expression."""
    name = "$things" if route.path.startswith("/things/") else route.name
    does = f'add_header x-handler {name}; add_header x-version "nginx $nginx_version"; return 200;'
    expression = rewrite(route.path.replace(".", r"\."), "(?<NAME>[^/]+)", "(?<rest>.*)")
    if ignore_case:
        return f"location ~* ^{expression}$ {{ {does} }}"
    if "{" in route.path:
        return f"location ~ ^{expression}$ {{ {does} }}"
    if route.path.endswith("*"):
        return f"location {route.path[:-1]} {{ {does} }}"
    return f"location = {route.path} {{ {does} }}"


def _locations(*, ignore_case: bool) -> str:
    routes = {route.path: route for route in ROUTES}.values()
    return "\n".join(_location(route, ignore_case=ignore_case) for route in routes)


def _nginx_command(directory: Path, port: int, http: str) -> list[str]:
    """Write a configuration whose ``LISTEN`` and ``DIRECTORY`` are put in here."""
    text = (PROGRAMS / "nginx.conf").read_text().replace("HTTP", http)
    directory.chmod(0o755)  # the workers of nginx and PHP-FPM are another user
    file = directory / "nginx.conf"
    file.write_text(
        text.replace("LISTEN", f"127.0.0.1:{port}").replace("DIRECTORY", f"{directory}")
    )
    return ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(file)]


def _nginx(name: str, http: str) -> Server:
    return Server(
        name,
        lambda directory, port: _nginx_command(directory, port, http),
        lambda: _missing("nginx"),
    )


_SERVER = "server { listen LISTEN; %s }"
_DECODED = (
    "upstream behind { server unix:DIRECTORY/behind; }"
    "server { listen LISTEN; location / { proxy_pass http://behind$uri; } }"
    "server { listen unix:DIRECTORY/behind; %s }"
)

NGINX = (
    _nginx("nginx", _SERVER % _locations(ignore_case=False)),
    _nginx("nginx-ignore-case", _SERVER % _locations(ignore_case=True)),
    _nginx("nginx-behind-nginx-decoded", _DECODED % _locations(ignore_case=False)),
)

_PHP_FPM = "php-fpm8.2"
_PHP_LIBRARIES = Path("/usr/share/php/Illuminate/Events")


def _php(name: str, program: str, locations: str, requests: tuple[Sent, ...] = REQUESTS) -> Server:
    """Return nginx before PHP-FPM, configured as the framework's documentation has it."""

    def command(directory: Path, port: int) -> list[str]:
        public = directory / "public"
        public.mkdir()
        shutil.copy(PROGRAMS / "php" / "answer.php", public)
        shutil.copy(PROGRAMS / "php" / f"{program}.php", public / "index.php")
        pool = (PROGRAMS / "php" / "fpm.conf").read_text().replace("DIRECTORY", str(directory))
        (directory / "fpm.conf").write_text(pool)
        routes = TABLE.replace("\\", r"\\")
        fastcgi = f"include /etc/nginx/fastcgi_params; fastcgi_param UPSTREAM_ROUTES '{routes}';"
        http = _SERVER % f"root DIRECTORY/public; {locations.replace('FASTCGI', fastcgi)}"
        fpm = [_PHP_FPM, "-F", "-y", str(directory / "fpm.conf")]
        return _both(fpm, _nginx_command(directory, port, http))

    missing = partial(_missing, "nginx", _PHP_FPM, file=_PHP_LIBRARIES)
    return Server(name, command, missing, requests=requests)


def _both(first: list[str], second: list[str]) -> list[str]:
    """Run two programs until this one is terminated."""
    one, two = shlex.join(first), shlex.join(second)
    return ["sh", "-c", f"trap 'kill $one $two' TERM; {one} & one=$!; {two} & two=$!; wait; wait"]


_TO_INDEX = "location / { try_files $uri /index.php$is_args$args; }"
_FASTCGI = (
    r"fastcgi_split_path_info ^(.+\.php)(/.*)$; FASTCGI fastcgi_pass unix:DIRECTORY/fpm;"
    "fastcgi_param DOCUMENT_ROOT $document_root;"
    "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;"
)
_INDEX = r"location ~ ^/index\.php(/|$) { " + _FASTCGI

PHP = (
    _php("symfony", "symfony", f"{_TO_INDEX} {_INDEX} internal; }}"),
    _php("symfony-index-php", "symfony", f"{_TO_INDEX} {_INDEX} }}", FRONT_CONTROLLERS),
    _php("laravel", "laravel", f"{_TO_INDEX} location ~ \\.php$ {{ {_FASTCGI} }}"),
    _php("php-parse-url", "parse_url", f"{_TO_INDEX} {_INDEX} }}"),
)


def _ruby(name: str) -> Server:
    start = ["puma", "--quiet", "--environment", "production", "--bind"]
    program = str(PROGRAMS / "ruby" / f"{name}.ru")
    return Server(
        name,
        lambda _, port: [*start, f"tcp://127.0.0.1:{port}", program],
        lambda: _missing("puma"),
        {"UPSTREAM_ROUTES": TABLE},
    )


RUBY = (_ruby("rails"), _ruby("sinatra"))


def _spring(
    name: str, boot: str, *properties: str, requests: tuple[Sent, ...] = REQUESTS
) -> Server:
    program = INSTALLED / "spring" / boot / "target" / "upstream.jar"
    settings = [
        f"--{each}" for each in ("spring.mvc.hiddenmethod.filter.enabled=true", *properties)
    ]
    return Server(
        name,
        lambda _, port: ["java", "-jar", str(program), TABLE, f"--server.port={port}", *settings],
        lambda: _missing("java", file=program),
        requests=requests,
    )


_ANT = "spring.mvc.pathmatch.matching-strategy=ant_path_matcher"
_SUFFIX = "spring.mvc.pathmatch.use-suffix-pattern=true"
_IGNORE_CASE = "upstream.ignore-case=true"

BOOT_5, BOOT_7 = "2.7.18", "4.0.7"
"""Versions of Spring Boot that bring Spring 5 and 7."""

SPRING = (
    _spring("spring-7", BOOT_7),
    _spring("spring-7-ignore-case", BOOT_7, _IGNORE_CASE, requests=CASES),
    _spring("spring-5", BOOT_5, _ANT),
    _spring("spring-5-ignore-case", BOOT_5, _ANT, _IGNORE_CASE, requests=CASES),
    _spring("spring-5-suffix", BOOT_5, _ANT, _SUFFIX),
)


def _sanic() -> Server:
    """Sanic needs an older multidict than the sidecar, so it is not in our environment."""
    python = INSTALLED / "python" / "bin" / "python"
    module = "tests.upstreams.programs.sanic_app"
    return Server(
        "sanic",
        lambda _, port: [str(python), "-m", module, str(port)],
        lambda: _missing(file=python),
    )


ELSEWHERE = (*NODE, *GO, *NGINX, *PHP, *RUBY, *SPRING, _sanic())
