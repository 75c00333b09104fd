"""YAML that refuses a key that stands twice, wherever it stands, and knows what YAML lets stand twice."""

from pathlib import Path

import pytest

from search_spaces.strict_yaml import parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ["a: stands twice, in lines 1 and 3; keep one"]),
        ("a: {b: {c: 1,\n  c: 2}}\n", ["a.b.c: stands twice, in lines 1 and 2; keep one"]),
        ("- {a: 1, a: 2}\n- {a: 1}\n", ["0.a: stands twice, in lines 1 and 1; keep one"]),
        ("a: 1\n'a': 2\n\"a\": 3\n", [f"a: stands twice, in lines 1 and {line}; keep one" for line in (2, 3)]),
        ("1: x\n0x1: y\n", ["0x1: stands twice, in lines 1 and 2; keep one"]),
        ("one: &one {a: 1, a: 2}\ntwo: *one\n", ["one.a: stands twice, in lines 1 and 1; keep one"]),
        ("one: &one {a: 1}\ntwo: {<<: *one, <<: *one}\n", ["two.<<: stands twice, in lines 2 and 2; keep one"]),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(text: str, expected: list[str]) -> None:
    assert parse_yaml(text).repeated == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base: &base {a: 1, b: 2}\nown: {<<: *base, a: 3}\n", {"base": {"a": 1, "b": 2}, "own": {"a": 3, "b": 2}}),
        ("x: &x {<<: &y {a: 1}, a: 2}\nz: {<<: *x, a: 3}\n", {"x": {"a": 2}, "z": {"a": 3}}),
        ("a: {c: 1}\nb: {c: 1}\n", {"a": {"c": 1}, "b": {"c": 1}}),
        ("lr: 1e-3\nnot: 1e-3x\n", {"lr": 0.001, "not": "1e-3x"}),
        ("", None),
    ],
)
def test_what_yaml_lets_stand_is_read(text: str, expected: object) -> None:
    assert parse_yaml(text) == (expected, [])


@pytest.mark.parametrize("content", [b"a: [1", b"a: 1\n---\nb: 2\n", b"\xff\xfe", b"? [1]\n: 2\n"])
def test_what_is_no_yaml_is_refused_by_its_path(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.yaml must be readable YAML, but: "):
        read_yaml(tmp_path / "bad.yaml")
