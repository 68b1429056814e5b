"""A few thousand random requests in every run; `make fuzz MINUTES=n` sends many more."""

from __future__ import annotations

import pytest

from tests.fuzz.requests import fuzz
from tests.fuzz.sockets import attack


@pytest.mark.parametrize("seed", [10, 11])  # odd seeds bend definitions, webhooks and policies, too
async def test_nothing_breaks_the_server(seed: int) -> None:
    made = await fuzz(1200, seed)
    assert not made.failures, "\n".join(line[:500] for line in made.failures[:5])
    assert made.codes[200] > 50 and made.codes[422] > 30


async def test_random_bytes_on_many_connections_break_nothing_either() -> None:
    run = await attack(seed=12, minutes=1, requests=700)
    assert run.codes[200] > 3 and run.codes[422] > 5
