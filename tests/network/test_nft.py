"""What nft takes and refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.network.sockets import inside, ip
from tiphys.network.nft import NftError, nft

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip")]


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace that nobody else uses."""
    name = f"nft{os.getpid()}"
    ip("netns", "add", name)
    yield name
    ip("netns", "del", name)


def test_a_script_is_one_transaction(namespace: str) -> None:
    with inside(namespace):
        with pytest.raises(NftError, match="No such file or directory"):
            nft("add table ip t\nadd chain ip absent c\n")
        with pytest.raises(NftError):
            nft("delete table ip t\n")  # the first line was not carried out either
        nft("add table ip t\ndelete table ip t\n")
