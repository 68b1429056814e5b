"""Queries of a machine's logs."""

from __future__ import annotations

import pytest

from tiphys.node.server.nodelogquery import BadQuery, parse

SINCE, UNTIL = "2026-01-02T03:04:05Z", "2026-01-03T00:00:00Z"


def test_a_request_without_a_query_asks_for_a_file() -> None:
    assert parse([("other", "x")]) is None


def test_what_journalctl_is_asked() -> None:
    asked = [
        ("query", "kubelet"),
        ("query", "containerd"),
        ("sinceTime", SINCE),
        ("untilTime", UNTIL),
        ("tailLines", "10"),
        ("boot", "-1"),
        ("pattern", "err.*"),
    ]
    query = parse(asked)
    assert query is not None and query.services == ("kubelet", "containerd")
    assert query.arguments(query.services) == [
        "--utc",
        "--no-pager",
        "--output=short-precise",
        "--since=2026-01-02 03:04:05",
        "--until=2026-01-03 00:00:00",
        "--pager-end",
        "--lines=10",
        "--unit=kubelet",
        "--unit=containerd",
        "--grep=err.*",
        "--case-sensitive=false",
        "--boot",
        "-1",
    ]


@pytest.mark.parametrize("name", ["/foo.log", "foo/bar.log", "foo\\bar.log"])
def test_what_has_a_slash_is_a_file(name: str) -> None:
    query = parse([("query", name)])
    assert query is not None and not query.services
    assert query.files == (name.replace("\\", "/"),)


@pytest.mark.parametrize(
    ("parameters", "code", "problem"),
    [
        ("query=  ", 400, 'query: Invalid value: "  ": query cannot be empty'),
        ("query=a&sinceTime=x", 400, 'sinceTime: Invalid value: "x": invalid time format'),
        ("query=a&tailLines=x", 400, "tailLines: Invalid value"),
        ("query=a&boot=1", 406, "boot: Invalid value: 1: must be less than 1"),
        ("query=a&tailLines=100001", 406, "must be between 0 and 100000"),
        ("query=a&tailLines=-1", 406, "must be between 0 and 100000"),
        ("query=a&query=/b", 406, "cannot specify a file and service"),
        ("query=/a&query=/b", 406, "cannot specify more than one file"),
        ("query=/a&boot=0", 406, "cannot specify file with options"),
        ("query=a;b", 406, "input contains unsupported characters"),
        ("query=a&pattern=(", 406, "pattern: Invalid value"),
        ("query=a&query=b&query=c&query=d&query=e", 406, "must have at most 4 items"),
        (f"query=a&sinceTime={UNTIL}&untilTime={SINCE}", 406, "must be after `sinceTime`"),
    ],
)
def test_what_cannot_be_asked(parameters: str, code: int, problem: str) -> None:
    pairs = [tuple(each.split("=", 1)) for each in parameters.split("&")]
    with pytest.raises(BadQuery) as refused:
        parse(pairs)  # type: ignore[arg-type]
    assert refused.value.code == code and problem in str(refused.value)


def test_a_long_name_is_no_service() -> None:
    with pytest.raises(BadQuery, match="length must be less than 256"):
        parse([("query", "a" * 257)])
