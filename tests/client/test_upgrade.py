"""Requests that change the protocol of their connection, on their way to the server behind."""

from __future__ import annotations

import pytest

from tiphys.client.upgrade import is_upgrade, request_head


def test_who_asked_and_where_stays_between_the_client_and_us() -> None:
    headers = {"Host": "us", "AUTHORIZATION": "Bearer x", "Upgrade": "SPDY/3.1", "X-A": "b"}
    head = request_head("POST", "/exec?a=b", "behind:1", headers)
    assert head.decode().split("\r\n") == [
        "POST /exec?a=b HTTP/1.1",
        "Host: behind:1",
        "Upgrade: SPDY/3.1",
        "X-A: b",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("headers", "is_one"),
    [
        ({"Connection": "Upgrade", "Upgrade": "websocket"}, True),
        ({"Connection": "keep-alive, upgrade", "Upgrade": "SPDY/3.1"}, True),
        ({"Connection": "Upgrade"}, False),
        ({"Connection": "Upgrade", "Upgrade": ""}, False),
        ({"Upgrade": "websocket"}, False),
        ({}, False),
    ],
)
def test_both_headers_are_needed(headers: dict[str, str], is_one: bool) -> None:
    assert is_upgrade(headers) is is_one
