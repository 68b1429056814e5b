"""The command that shows a service's endpoints: what it is asked, and what it prints."""

from __future__ import annotations

import pytest

from tiphys.addons.endpoints.balancing import Address
from tiphys.addons.endpoints.show import arguments, show


def test_the_server_is_this_machines_unless_it_is_said() -> None:
    here = arguments(["web.shop:80"])
    assert (here.service, here.server) == ("web.shop:80", "127.0.0.1:18000")
    there = arguments(["web.shop:80", "10.0.0.1:1"])
    assert (there.service, there.server) == ("web.shop:80", "10.0.0.1:1")


@pytest.mark.parametrize("given", [[], ["web.shop:80", "server", "more"]])
def test_how_it_is_used_is_said(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(given)
    assert ended.value.code == 2
    assert "NAME.NAMESPACE:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("addresses", "line"),
    [
        ([], "none"),
        ([Address("10.0.0.1:80", "a")], "10.0.0.1:80 (a)"),
        (
            [Address("10.0.0.1:80"), Address("10.0.0.2:80", "b")],
            "10.0.0.1:80 (no zone), 10.0.0.2:80 (b)",
        ),
    ],
)
def test_endpoints_are_shown_with_their_zones(
    addresses: list[Address], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(addresses)
    assert capsys.readouterr().out == f"{line}\n"
