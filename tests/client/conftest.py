"""Several API servers, for the tests of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.client.pretenders import Pretender


@pytest.fixture
async def three() -> AsyncIterator[list[Pretender]]:
    made = [Pretender(name) for name in ("a", "b", "c")]
    for one in made:
        await one.start()
    yield made
    for one in made:
        await one.stop()


@pytest.fixture
def plain_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pretenders speak no TLS."""
    from tiphys.client import servers

    read = servers.read
    monkeypatch.setattr(
        servers, "read", lambda file: [url.replace("https", "http") for url in read(file)]
    )
