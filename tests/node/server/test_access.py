"""What a request to a node's server is about, as the API server is asked."""

from __future__ import annotations

import pytest

from tiphys.node.server.access import subresources


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ["proxy"]),
        ("exec/default/p/c", ["proxy"]),
        ("pods", ["pods", "proxy"]),
        ("runningpods", ["pods", "proxy"]),
        ("healthz/ping", ["healthz", "proxy"]),
        ("configz", ["configz", "proxy"]),
        ("stats/summary", ["stats"]),
        ("metrics/cadvisor", ["metrics"]),
        ("logs/syslog", ["log"]),
        ("checkpoint/default/p/c", ["checkpoint"]),
    ],
)
def test_a_path_is_about_a_subresource_of_nodes(path: str, expected: list[str]) -> None:
    assert subresources(path.split("/")) == expected


def test_so_is_none() -> None:
    assert subresources([]) == ["proxy"]
