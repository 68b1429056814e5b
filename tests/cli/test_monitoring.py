"""The flags of components that serve their metrics."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tiphys.cli.monitoring import monitored
from tiphys.client.monitoring import Endpoint

FILES = ("--tls-cert-file=c", "--tls-private-key-file=k", "--client-ca-file=a")


def endpoint_of(*flags: str) -> Endpoint | None:
    """What a component at port 1 is given. Raises click.UsageError."""
    given: list[Endpoint | None] = []

    @click.command()
    @monitored(1)
    def component(endpoint: Endpoint | None) -> None:
        given.append(endpoint)

    CliRunner().invoke(component, flags, standalone_mode=False, catch_exceptions=False)
    return given[0]


def test_a_component_serves_where_it_has_a_certificate_for() -> None:
    expected = Endpoint("127.0.0.1", 1, Path("c"), Path("k"), Path("a"))
    assert endpoint_of(*FILES) == expected
    assert endpoint_of(*FILES, "--secure-port=7", "--bind-address=0.0.0.0") == Endpoint(
        "0.0.0.0", 7, Path("c"), Path("k"), Path("a")
    )


@pytest.mark.parametrize("flags", [(), (*FILES, "--secure-port=0")])
def test_a_component_serves_nowhere(flags: tuple[str, ...]) -> None:
    assert endpoint_of(*flags) is None


@pytest.mark.parametrize("missing", range(3))
def test_certificate_key_and_authority_go_together(missing: int) -> None:
    flags = [flag for number, flag in enumerate(FILES) if number != missing]
    with pytest.raises(click.UsageError, match="go together"):
        endpoint_of(*flags)
