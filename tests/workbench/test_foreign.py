"""Other programs' documents: every text is a value, every oddity a note, lines stay."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.documents.document import Mark
from sidecar.documents.foreign import MAX_BYTES, read_foreign
from sidecar.documents.foreign_json import MAX_VALUES as MAX_JSON_VALUES
from sidecar.documents.foreign_yaml import MAX_BYTES as MAX_YAML_BYTES
from sidecar.documents.foreign_yaml import MAX_DEPTH

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def value(text: str | bytes) -> Any:
    document = read_foreign(text.encode() if isinstance(text, str) else text)
    assert document.complete, document.faults
    return document.value


@given(ANYTHING, st.booleans(), st.sampled_from([None, 1]))
def test_any_json_is_read_as_python_reads_it(data: Any, escaped: bool, indent: int | None) -> None:
    assert value(json.dumps([data], ensure_ascii=escaped, indent=indent)) == [data]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a: "one\\ntwo\\tthree"', "one\ntwo\tthree"),
        ("a: |\n  one\n  \ttwo\n", "one\n\ttwo\n"),
        ('a: "\\ud83d\\ude00"', "\U0001f600"),
        ('a: "\\ud83d\\ude00 \\ud800 \\\\ud800"', "\U0001f600 \ufffd \\ud800"),
        ("a: x\u2028y\u0085z", "x\u2028y\u0085z"),
        ("a: 'x\x01\x7f\ufeff'", "x\x01\x7f\ufeff"),
        ("a: !Sub 'x ${y}'", "x ${y}"),
        ("a: !!str 12", "12"),
        ("a: 2024-01-01", "2024-01-01"),
        ("b: &x {c: 1}\na: *x", {"c": 1}),
        ("b: &x {c: 1, d: 2}\na: {<<: *x, c: 3}", {"c": 3, "d": 2}),
        ("b: [&x {c: 1}, &y {c: 2, d: 2}]\na: {<<: [*x, *y]}", {"c": 1, "d": 2}),
        ("b: &x d\na: {*x : 1}", {"d": 1}),
        ("a: {'<<': 1}", {"<<": 1}),
        ("a: {200: ok, 1.5: x, '': y}", {"200": "ok", "1.5": "x", "": "y"}),
        ("a: 1\na: 2", 2),
        ("a: 1\n---\n[", 1),
        ("{a: 1,}", 1),
        ('{"a": 1} {"a": 2}', 1),
        ('{"a": {"b": 1, "b": 2}}', {"b": 2}),
        ('{"a": "tab\there"}', "tab\there"),
        ("!ignore b: &x 1\na: *x", 1),
    ],
)
def test_what_other_programs_write_is_read(text: str, expected: Any) -> None:
    assert value(text)["a"] == expected


def test_an_entry_whose_key_has_the_tag_ignore_is_left_out() -> None:
    """As Envoy does; its anchors stay."""
    assert value("!ignore anchors: [&x {b: 1}]\na: *x") == {"a": {"b": 1}}


@pytest.mark.parametrize("form", ['"{}": 1', "'{}': 1", "{}: 1", "- {}: 1", '{{"{}": 1}}'])
def test_keys_may_be_long(form: str) -> None:
    key = "/long" * 1000
    found = value(form.format(key))
    inner = found[0] if isinstance(found, list) else found
    assert inner[key] == 1


def test_a_long_line_of_a_text_is_no_key() -> None:
    line = '"' + "z" * 2000 + '": 1'
    assert value(f"a: |\n  {line}\nb: 1") == {"a": line + "\n", "b": 1}


def test_utf_16_is_read() -> None:
    """PowerShell writes it for `>`."""
    assert value('{"a": "\u4e2d"}'.encode("utf-16")) == {"a": "\u4e2d"}


@pytest.mark.parametrize(
    "text",
    [
        'a: "\u2028\\ud83d\\ude00"\nb:\n  - c: 1\n    "key\\n": {d: 2}\n',
        '{"a": "\u2028\\ud83d\\ude00",\n"b": [\n  {"c": 1,\n    "key\\n": {"d": 2}}]}\n',
    ],
)
def test_lines_stay(text: str) -> None:
    document = read_foreign(text.encode())
    assert document.mark(("b", 0, "key\n")) == Mark(4, 5)
    assert document.mark(("b", 0, "key\n", "d")).line == 4
    assert document.mark(("b", 0, "none", "at", "all")) == document.mark(("b", 0))
    assert document.mark(("none",)) == Mark(1, 1)


def test_an_alias_has_the_lines_of_its_anchor() -> None:
    document = read_foreign(b"a: &x\n  b: 1\nc: *x\nd: {<<: *x}")
    assert document.mark(("c", "b")) == document.mark(("d", "b")) == Mark(2, 3)


@pytest.mark.parametrize(
    ("text", "line", "note"),
    [
        ("a: 1\na: 2", 2, "duplicate key `a`"),
        ('{"x": 1,\n"a": {"b": 1,\n"b": 2}}', 3, "duplicate key `b`"),
        ("a: 1\n---\nb: 1", 2, "a second document"),
        ('{"a": 1}\n{"b": 1}', 2, "a second document"),
        ("a: 1\n[b]: 2", 2, "a list or a mapping is a key"),
    ],
)
def test_what_is_odd_is_a_note_with_its_line(text: str, line: int, note: str) -> None:
    (found,) = read_foreign(text.encode()).notes
    assert found.mark.line == line
    assert note in found.message


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "the file is empty"),
        (b"a: [", "not valid YAML"),
        (b"{'a': \xff}", "not valid UTF-8"),
        (b"a: *b", "no anchor"),
        (b"- " * (MAX_DEPTH + 1) + b"x", "nested"),
        (b"[" * 100_000, "nested"),
        (b" " * (MAX_BYTES + 1), "larger than 64 MiB"),
        (b"[" + b"," * MAX_JSON_VALUES, "values"),
        (b"[" + b"9" * 100_000 + b"", "not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_one_fault(data: bytes, fault: str) -> None:
    document = read_foreign(data)
    assert not document.complete
    assert fault in document.faults[0].message


def test_a_billion_laughs_are_one_mapping() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 90)]
    assert len(value("\n".join(lines))) == 90


@pytest.mark.parametrize("form", ['{{"a{0}": [{0}, "x\\n"]}},\n', "- {{a{0}: [{0}, x]}}\n"])
def test_time_grows_with_the_text(form: str) -> None:
    def seconds(count: int) -> float:
        text = "".join(form.format(n) for n in range(count))
        data = ("[" + text + "1]" if form[0] == "{" else text).encode()
        start = time.process_time()
        document = read_foreign(data)
        assert document.mark((count - 1, f"a{count - 1}", 1)).line == count
        return time.process_time() - start

    few = min(seconds(1000) for _ in range(5))
    many = min(seconds(8000) for _ in range(2))
    assert many < 24 * few


@pytest.mark.parametrize("form", ["a{}b: 1", "a{}", "a: 1{}", '"{}x', "'{}x", "- {}x", "{}a: 1"])
def test_time_grows_with_the_spaces_of_a_line(form: str) -> None:
    def seconds(count: int) -> float:
        data = form.format(" " * count).encode()
        start = time.process_time()
        read_foreign(data)
        return time.process_time() - start

    few = min(seconds(4000) for _ in range(3))
    assert seconds(32_000) < 24 * few + 0.1  # what is not measured exactly


def test_yaml_is_read_up_to_a_quarter_of_what_json_may_have() -> None:
    """It takes a hundred times as long."""
    assert value(b"[" + b" " * MAX_YAML_BYTES + b"1]") == [1]
    document = read_foreign(b"- " + b" " * MAX_YAML_BYTES + b"1")
    assert document.faults[0].message == "the file is larger than 16 MiB and not JSON"
