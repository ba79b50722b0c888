"""The YAML reader: plain values, their positions, and no surprises."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.documents import yaml_source
from sidecar.documents.document import Mark
from sidecar.documents.yaml_source import MAX_BYTES, MAX_DEPTH, MAX_PROBLEMS, read_yaml


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("0660", "0660"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        (".inf", ".inf"),
        (".5", ".5"),
        ("=", "="),
        ("9" * 400, "9" * 400),
        ("-0", 0),
        ("10000", 10000),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ('"true"', "true"),
        ("'5'", "5"),
        ("|-\n  a", "a"),
    ],
)
def test_a_scalar_is_read_without_yaml_surprises(written: str, value: object) -> None:
    document = read_yaml(f"key: {written}".encode())
    assert document.faults == []
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


def test_positions_are_those_of_keys_and_items_in_characters() -> None:
    document = read_yaml("# 说明\na:\n  键: [x, {b: c}]\n  d: e\n".encode())
    assert document.marks == {
        (): Mark(2, 1),
        ("a",): Mark(2, 1),
        ("a", "键"): Mark(3, 3),
        ("a", "键", 0): Mark(3, 7),
        ("a", "键", 1): Mark(3, 10),
        ("a", "键", 1, "b"): Mark(3, 11),
        ("a", "d"): Mark(4, 3),
    }


def test_a_missing_value_has_the_position_of_its_parent() -> None:
    document = read_yaml(b"a:\n  b: {c: 1}\n")
    assert document.mark(("a", "b", "d", 0)) == Mark(2, 3)
    assert document.mark(("z",)) == Mark(1, 1)


@pytest.mark.parametrize(
    ("data", "mark", "code"),
    [
        (b"", (1, 1), "yaml-empty"),
        (b"# nothing\n", (1, 1), "yaml-empty"),
        (b"a: \xff", (1, 4), "yaml-encoding"),
        ("a: ü\nb: \udcff".encode("utf-8", "surrogateescape"), (2, 4), "yaml-encoding"),
        ("a: b".encode("utf-16"), (1, 1), "yaml-encoding"),
        (b"a: b\0c", (1, 5), "yaml-encoding"),
        (b"a: b\nc: \x1b[31m", (2, 4), "yaml-encoding"),
        ("a: 'b\u2028c'".encode(), (1, 6), "yaml-encoding"),
        (b"a" * (MAX_BYTES + 1), (1, 1), "yaml-size"),
        (b"[" * (MAX_DEPTH + 1), (1, MAX_DEPTH + 1), "yaml-depth"),
        (b"a: b\n--- c", (2, 1), "yaml-documents"),
        (b"a: %b", (1, 4), "yaml-syntax"),
        (b"%TAG ! tag:x,2026:\n---\na: !b c", (3, 4), "yaml-tag"),
    ],
)
def test_unreadable_input_is_one_fault(data: bytes, mark: tuple[int, int], code: str) -> None:
    (fault,) = read_yaml(data).faults
    assert (fault.mark, fault.code) == (mark, code)


def test_a_refused_value_is_left_out_and_the_rest_is_read() -> None:
    document = read_yaml(b"{a: *x, b: &y c, d: !!int '1', a: 2, 3: e, <<: f, '': g, h: i}")
    assert [fault.code for fault in document.faults] == [
        "yaml-alias",
        "yaml-alias",
        "yaml-tag",
        "duplicate-key",
        "yaml-key",
        "yaml-alias",
        "yaml-key",
    ]
    assert document.value == {"a": None, "b": "c", "d": None, "3": "e", "<<": "f", "h": "i"}
    assert document.refused == {("a",), ("d",)}
    assert document.complete


def test_a_billion_laughs_are_a_few_faults() -> None:
    lines = [b"a0: &a0 [lol]"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 30)]
    document = read_yaml(b"\n".join(lines))
    assert len(document.faults) == MAX_PROBLEMS
    assert not document.complete


def test_reading_continues_to_the_last_reported_fault() -> None:
    document = read_yaml(b"\n".join(b"- &a%d x" % i for i in range(MAX_PROBLEMS - 1)) + b"\n- [")
    assert [fault.code for fault in document.faults[-2:]] == ["yaml-alias", "yaml-syntax"]


def test_a_build_of_pyyaml_without_c_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"a: [1, {b: 'x'}]\nc: !t &a |\n  d\ne: *a\n1: 2\n"
    fast = read_yaml(data)
    monkeypatch.setattr(yaml_source, "LOADER", yaml.SafeLoader)
    slow = read_yaml(data)
    assert (slow.value, slow.marks) == (fast.value, fast.marks)
    assert [fault.mark for fault in slow.faults] == [fault.mark for fault in fast.faults]


@pytest.mark.parametrize("escape", [r"\UFFFFFFFF", r"\U00110000", r"\ud800"])
def test_an_escape_that_is_not_a_character_is_a_fault_without_c_too(
    monkeypatch: pytest.MonkeyPatch, escape: str
) -> None:
    assert len(read_yaml(f'a: "{escape}"'.encode()).faults) == 1
    monkeypatch.setattr(yaml_source, "LOADER", yaml.SafeLoader)
    assert len(read_yaml(f'a: "{escape}"'.encode()).faults) == 1


def test_reading_stops_after_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "MAX_VALUES", 10)
    document = read_yaml(b"- a\n" * 20)
    assert [(fault.mark, fault.code) for fault in document.faults] == [(Mark(10, 3), "yaml-size")]
    assert not document.complete


PRINTABLE = st.characters(
    exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffe\uffff"
)
TEXT = st.text(PRINTABLE, min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, VALUES, min_size=1))
def test_json_is_read_as_json(value: object) -> None:
    """JSON that a generator writes has the same meaning as YAML."""
    document = read_yaml(json.dumps(value, ensure_ascii=False).encode())
    assert document.faults == []
    assert document.value == value
