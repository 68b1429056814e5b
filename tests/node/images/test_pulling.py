"""When images are pulled, and with which credentials."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import Events
from tiphys.node.hollow import HollowRuntime
from tiphys.node.images.pulling import ImagePuller, ImageRequest
from tiphys.node.runtime import RuntimeFault


class Registry(HollowRuntime):
    """Has some images; keeps what is pulled."""

    def __init__(self, present: bool, fault: RuntimeFault | None = None) -> None:
        super().__init__()
        self.present, self.fault = present, fault
        self.pulled: list[tuple[str, Any]] = []

    async def has_image(self, image: str) -> bool:
        return self.present

    async def pull(self, image: str, auth: dict[str, str] | None) -> None:
        self.pulled.append((image, auth))
        if self.fault is not None:
            raise self.fault


async def ensure(registry: Registry, policy: str, image: str = "img") -> Events:
    events = Events()

    def event(kind: str, reason: str, message: str, container: str = "") -> None:
        events.record(None, kind, reason, message, container)

    request = ImageRequest(pod(), image, policy, "c")
    await ImagePuller(registry, None).ensure(request, event)  # type: ignore[arg-type]
    return events


@pytest.mark.parametrize(
    ("policy", "present", "image", "pulls"),
    [
        ("IfNotPresent", True, "img", False),
        ("IfNotPresent", False, "img", True),
        ("Always", True, "img", True),
        ("Always", False, "img", True),
        ("Never", True, "img", False),
        ("Always", True, "tiphys.local/img:1", False),
        ("Always", True, "localhost/img:1", False),
        ("IfNotPresent", False, "tiphys.local/img:1", True),
    ],
)
async def test_when_an_image_is_pulled(policy: str, present: bool, image: str, pulls: bool) -> None:
    registry = Registry(present)
    events = await ensure(registry, policy, image)
    assert bool(registry.pulled) is pulls
    assert events.reasons() == (["Pulling", "Pulled"] if pulls else ["Pulled"])


async def test_an_image_without_a_tag_is_the_latest() -> None:
    registry = Registry(present=False)
    await ensure(registry, "IfNotPresent")
    assert registry.pulled == [("img:latest", None)]


@pytest.mark.parametrize(
    ("policy", "image", "reason"),
    [("Never", "img", "ErrImageNeverPull"), ("Always", "UPPER", "InvalidImageName")],
)
async def test_images_that_are_not_pulled(policy: str, image: str, reason: str) -> None:
    registry = Registry(present=False)
    with pytest.raises(RuntimeFault) as fault:
        await ensure(registry, policy, image)
    assert fault.value.reason == reason and not registry.pulled


async def test_the_fault_of_the_registry_is_told() -> None:
    with pytest.raises(RuntimeFault, match="no such image") as fault:
        await ensure(Registry(False, RuntimeFault("ErrImagePull", "no such image")), "Always")
    assert fault.value.reason == "ErrImagePull"
