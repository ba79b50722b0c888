"""The route tables that the console knows, by digest: nodes report which one they run.

A table is read with a ``sidecar.yaml``, as its sidecar reads it; secrets are not needed for that.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.config.load import Config, ConfigFiles, read_files, read_policy
from sidecar.console.settings import PolicySection
from sidecar.documents.findings import BadValueError, ConfigError, Finding
from sidecar.review import suggestions

MAX_TABLES: Final = 200  # of one directory; further ones are named as a problem


class Table(NamedTuple):
    """One table. ``current`` is true for the table that its ``sidecar.yaml`` names."""

    digest: str
    file: Path
    config_file: Path
    config: Config
    findings: tuple[Finding, ...]
    current: bool

    @property
    def name(self) -> str:
        """The file as pages show it: with its directory, because most are called routes.yaml."""
        return f"{self.file.resolve().parent.name}/{self.file.name}"


class UnusableFile(NamedTuple):
    """A file that holds no usable table, and why."""

    file: str
    message: str


class Tables(NamedTuple):
    """All usable tables by digest, and the files that are not usable."""

    by_digest: dict[str, Table]
    problems: tuple[UnusableFile, ...]


class TableFiles:
    """The files of ``policies``; they are read again when one of them has changed."""

    def __init__(self, sections: Iterable[PolicySection]) -> None:
        self._sections = tuple(sections)
        self._read_from: object = None
        self._tables = Tables({}, ())

    def read(self) -> Tables:
        """Return the tables; the same object while no file has changed. It blocks."""
        files = [(section, list(_files(section))) for section in self._sections]
        read_from = [(path, _state(path)) for _, paths in files for path in paths]
        if read_from != self._read_from:
            self._tables = _read(files)
            self._read_from = read_from
        return self._tables


def _files(section: PolicySection) -> Iterator[Path]:
    """Yield the configuration, the policy that it names, and every further table."""
    yield section.config
    try:
        files = read_files(section.config, {}, offline=True)
    except ConfigError:
        return
    if files.settings is None:  # without them no table can be read
        return
    yield files.settings.policy.file
    if section.tables is not None:
        yield from sorted(section.tables.glob("*.yaml"))[:MAX_TABLES]


def _state(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(files: Iterable[tuple[PolicySection, list[Path]]]) -> Tables:
    tables: dict[str, Table] = {}
    problems: list[UnusableFile] = []
    for section, (config, *others) in files:
        if section.tables is not None and not section.tables.is_dir():
            problems.append(UnusableFile(section.tables.name, "is not a directory"))
        if not others:
            problems += _problems_of(config)
        # The last one that is read counts for a digest: the configuration's own table.
        for path in reversed(others):
            try:
                table = _table(config, path, current=path == others[0])
                tables[table.digest] = table
            except (ConfigError, BadValueError) as error:
                problems.append(_problem(path, error))
    return Tables(tables, tuple(problems))


def _table(config_file: Path, path: Path, *, current: bool) -> Table:
    files: ConfigFiles = read_files(config_file, {}, offline=True, policy_file=read_policy(path))
    found = suggestions.findings(files)
    config = files.config(found)
    own = tuple(each for each in config.warnings if Path(each.file) == path)
    return Table(config.policy.digest, path, config_file, config, own, current)


def _problems_of(config: Path) -> list[UnusableFile]:
    try:
        read_files(config, {}, offline=True).config()
    except ConfigError as error:
        return [_problem(config, error)]
    return []


def _problem(path: Path, error: ConfigError | BadValueError) -> UnusableFile:
    if isinstance(error, ConfigError):
        first = error.findings[0]
        return UnusableFile(Path(first.file).name, f"line {first.line}: {first.message}")
    return UnusableFile(path.name, str(error))
