"""The operational log."""

import contextlib
import json
import logging
import os
import pty
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.net.logs import once_a_minute
from sidecar.ops.logs import (
    MAX_ALIKE,
    PERIOD,
    JsonFormatter,
    RateLimited,
    TextFormatter,
    configure_logging,
)

SIGNATURE = "dGhlIHNpZ25hdHVyZSB0aGF0IG5vIGxvZyBtYXkgc2hvdyB0byBhbnlib2R5"
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjo3fQ.{SIGNATURE}"


@contextlib.contextmanager
def root_restored() -> Iterator[None]:
    """Give pytest its log handlers back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)


def emitted(message: str, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    return logging.LogRecord("sidecar.zervi", level, __file__, 1, message, args, None)


def written(path: Path, level: str = "info") -> Iterator[None]:
    """Configure logging to a file within the block."""
    with root_restored(), path.open("wb") as file:
        output = configure_logging(level, fd=file.fileno())
        yield
        output.close()


to_file = contextlib.contextmanager(written)


def lines(path: Path) -> list[dict[str, Any]]:
    """Read the log as a log shipper does."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_no_terminal_gets_json_lines(tmp_path: Path) -> None:
    with to_file(tmp_path / "log"):
        logging.getLogger("sidecar.zervi").warning("the key set of %s is old", "jobfirst")
    (shown,) = lines(tmp_path / "log")
    assert shown.pop("time").endswith("Z")
    assert shown == {
        "level": "warning",
        "logger": "sidecar.zervi",
        "message": "the key set of jobfirst is old",
    }


def test_a_terminal_gets_text() -> None:
    ours, theirs = pty.openpty()
    try:
        with root_restored():
            output = configure_logging("INFO", fd=theirs)
            logging.getLogger("sidecar.zervi").info("ready")
            output.close()
        assert os.read(ours, 4096).decode().split(" ", 1)[1] == "INFO    zervi: ready\r\n"
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("info", 3), ("Warning", 2), ("ERROR", 1)]
)
def test_the_level_chooses_what_is_written(level: str, count: int, tmp_path: Path) -> None:
    with to_file(tmp_path / "log", level):
        for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger("sidecar").log(number, "level %d", number)
    assert len(lines(tmp_path / "log")) == count


def test_configuring_again_replaces_what_was_configured(tmp_path: Path) -> None:
    with root_restored(), (tmp_path / "log").open("wb") as file:
        configure_logging("info", fd=file.fileno())
        output = configure_logging("info", fd=file.fileno())
        logging.getLogger("sidecar").info("once")
        output.close()
    assert len(lines(tmp_path / "log")) == 1


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_no_token_is_written_in_a_message_or_a_traceback(formatter: logging.Formatter) -> None:
    record = emitted("refused %s", TOKEN)
    error = ValueError(f"received {TOKEN}")
    record.exc_info = (ValueError, error, None)
    shown = formatter.format(record)
    assert SIGNATURE not in shown
    assert shown.count("[redacted]") == 2
    assert "ValueError" in shown


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_message_cannot_forge_another_line(formatter: logging.Formatter) -> None:
    shown = formatter.format(emitted("from %s", "x\n12:00 ERROR you\r\x1b[2J\x9b\u2028\u202e"))
    assert shown.isprintable()


def test_text_keeps_words_of_any_language() -> None:
    assert TextFormatter().format(emitted("用户 %s", "张三")).endswith("用户 张三")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_huge_message_is_cut(formatter: logging.Formatter) -> None:
    assert len(formatter.format(emitted("%s", "x" * 1_000_000))) < 10_000


def test_a_log_call_with_unfit_arguments_does_not_fail_its_caller(tmp_path: Path) -> None:
    with to_file(tmp_path / "log"):
        logging.getLogger("sidecar").warning("%d of %s", "many")
    assert lines(tmp_path / "log")[0]["message"] == "%d of %s"


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_same_warning_passes_once_a_period_and_says_how_many_did_not() -> None:
    clock = Clock()
    limited = RateLimited(clock)
    passed = 0
    for _ in range(100):
        passed += limited.filter(emitted("cannot reach %s", "zervi"))
        clock.now += PERIOD / 200
    assert passed == 1
    clock.now += PERIOD
    record = emitted("cannot reach %s", "zervi")
    assert limited.filter(record)
    assert record.getMessage() == "cannot reach zervi (99 more like this left out)"
    clock.now += PERIOD
    record = emitted("cannot reach %s", "zervi")
    assert limited.filter(record)
    assert record.getMessage() == "cannot reach zervi"


def test_different_messages_of_one_kind_pass_up_to_a_number() -> None:
    limited = RateLimited(Clock())
    passed = [limited.filter(emitted("bad peer %s", number)) for number in range(1000)]
    assert passed == [True] * MAX_ALIKE + [False] * (1000 - MAX_ALIKE)
    assert limited.filter(emitted("another kind %s", 1))


def test_what_is_no_warning_is_not_limited() -> None:
    limited = RateLimited(Clock())
    assert all(limited.filter(emitted("loaded", level=logging.INFO)) for _ in range(100))


def test_a_flood_of_kinds_is_not_remembered_for_ever() -> None:
    limited = RateLimited(Clock())
    for number in range(5_000):
        limited.filter(emitted(f"kind {number}"))
    assert len(limited._kinds) <= 1024


def test_records_with_a_key_are_limited_by_it_alone_at_every_level() -> None:
    clock = Clock()
    limited = RateLimited(clock)

    def passes(key: str, level: int = logging.WARNING) -> bool:
        record = emitted("%s%s", "a message ", clock.now, level=level)
        vars(record).update(once_a_minute(key))
        return limited.filter(record)

    assert all(passes(f"finding {number}") for number in range(10 * MAX_ALIKE))
    assert passes("registered", logging.INFO)
    clock.now += PERIOD / 2
    assert not passes("registered", logging.INFO)
    assert not passes("finding 1")
    clock.now += PERIOD / 2
    assert passes("registered", logging.INFO)


def test_a_percent_sign_in_a_limited_message_is_no_template() -> None:
    clock = Clock()
    limited = RateLimited(clock)
    limited.filter(emitted("%s", "100 %s"))
    limited.filter(emitted("%s", "100 %s"))
    clock.now += PERIOD
    record = emitted("%s", "100 %s")
    assert limited.filter(record)
    assert record.getMessage() == "100 %s (1 more like this left out)"


def test_warnings_of_libraries_are_lines_like_any_other(tmp_path: Path) -> None:
    with to_file(tmp_path / "log"), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a library has something to say", stacklevel=1)
    (shown,) = lines(tmp_path / "log")
    assert shown["logger"] == "py.warnings"
    assert "a library has something to say" in shown["message"]
