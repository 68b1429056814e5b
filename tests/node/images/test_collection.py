"""Which images go when the disk is short."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.builders import RecordingRuntime
from tiphys.node.images.collection import PulledImages, reclaim
from tiphys.node.images.names import name_on_node
from tiphys.node.runtime import RuntimeFault

MIB = 1 << 20


class Store(RecordingRuntime):
    """A runtime with four images, one of them under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: list[str] = []
        self.held = ""

    async def images(self) -> list[tuple[list[str], int]]:
        return [
            (["docker.io/library/a:1"], MIB),
            (["docker.io/library/b@sha256:1", "docker.io/library/b:1"], 2 * MIB),
            (["docker.io/library/used:1"], 4 * MIB),
            (["tiphys.local/loaded:1"], 8 * MIB),
        ]

    async def remove_image(self, image: str) -> None:
        if image == self.held:
            raise RuntimeFault("UNKNOWN", "it is held")
        self.removed.append(image)


@pytest.fixture
def pulled(tmp_path: Path) -> PulledImages:
    made = PulledImages(tmp_path / "node" / "pulled.json")
    for name in ("a:1", "b:1", "used:1"):
        made.add(name_on_node(name))
    return made


async def test_what_was_pulled_and_is_not_used_goes(pulled: PulledImages) -> None:
    store = Store()
    freed = await reclaim(store, pulled, {"docker.io/library/used:1"})
    assert freed == 3 * MIB
    assert store.removed == ["docker.io/library/a:1", "docker.io/library/b:1"]
    assert "docker.io/library/a:1" not in pulled and "docker.io/library/used:1" in pulled


async def test_an_image_that_cannot_be_removed_keeps_no_other(pulled: PulledImages) -> None:
    store = Store()
    store.held = "docker.io/library/a:1"
    assert await reclaim(store, pulled, {"docker.io/library/used:1"}) == 2 * MIB
    assert "docker.io/library/a:1" in pulled


async def test_an_image_in_use_under_another_name_stays(pulled: PulledImages) -> None:
    in_use = {"docker.io/library/b@sha256:1", "docker.io/library/a:1", "docker.io/library/used:1"}
    assert await reclaim(Store(), pulled, in_use) == 0


def test_what_was_pulled_is_known_to_the_next_agent(tmp_path: Path, pulled: PulledImages) -> None:
    pulled.discard("docker.io/library/a:1")
    again = PulledImages(tmp_path / "node" / "pulled.json")
    assert "docker.io/library/b:1" in again and "docker.io/library/a:1" not in again


def test_a_damaged_file_forgets_and_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "pulled.json"
    file.write_text("{")
    made = PulledImages(file)
    made.add("x")
    assert "x" in PulledImages(file)
