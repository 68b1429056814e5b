"""What the node remembers of its pulls, and whom it lets use what it has pulled."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import Events
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.node.hollow import HollowRuntime
from tiphys.node.images.access import SecretUse
from tiphys.node.images.pulling import ImagePuller, ImageRequest
from tiphys.node.images.pullrecords import PullRecords
from tiphys.node.runtime import RuntimeFault

IMAGE = "reg.example.com/closed:1"
ID = "sha256:closed"
ONE = SecretUse("u1", "ns", "one", "hash1")


def asked(records: PullRecords, *secrets: SecretUse) -> bool:
    return records.must_pull(IMAGE, ID, lambda: secrets)


def test_an_image_that_was_loaded_by_hand_is_for_everybody(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    assert not asked(records) and not records.is_asked


def test_an_image_that_a_secret_opened_is_for_who_has_it(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    records.note_pulled(IMAGE, ID, ONE)
    for known in (records, PullRecords(tmp_path)):
        assert known.is_asked
        assert asked(known) and not asked(known, ONE)
        assert known.must_pull("reg.example.com/other:1", ID, lambda: [ONE])


def test_an_image_that_needed_no_secret_is_for_everybody(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    records.note_pulled(IMAGE, ID, ONE)
    records.note_pulled(IMAGE, ID, None)
    assert not asked(PullRecords(tmp_path))


def test_a_pull_that_nobody_saw_end_opens_nothing(tmp_path: Path) -> None:
    PullRecords(tmp_path).note_intent(IMAGE)
    assert asked(PullRecords(tmp_path), ONE)


def test_an_intent_lasts_as_long_as_any_pull(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    records.note_intent(IMAGE)
    records.note_intent(IMAGE)
    records.forget_intent(IMAGE)
    assert asked(PullRecords(tmp_path))
    records.forget_intent(IMAGE)
    assert not asked(PullRecords(tmp_path))


def test_records_go_with_their_images(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    records.note_pulled(IMAGE, ID, ONE)
    records.forget(ID)
    assert PullRecords(tmp_path).ids() == []


def test_records_are_upstreams(tmp_path: Path) -> None:
    PullRecords(tmp_path).note_pulled(IMAGE, ID, ONE)
    [file] = (tmp_path / "pulled").iterdir()
    document = json.loads(file.read_text())
    assert file.name.startswith("sha256-") and len(file.name) == len("sha256-") + 64
    assert (document["kind"], document["imageRef"]) == ("ImagePulledRecord", ID)
    [secret] = document["credentialMapping"]["reg.example.com/closed"]["kubernetesSecrets"]
    assert secret == {"uid": "u1", "namespace": "ns", "name": "one", "credentialHash": "hash1"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"imageRef": "x", "credentialMapping": 7}'])
def test_a_record_that_cannot_be_read_opens_nothing_else(tmp_path: Path, text: str) -> None:
    PullRecords(tmp_path).note_pulled(IMAGE, ID, ONE)
    (tmp_path / "pulled" / "sha256-x").write_text(text)
    assert asked(PullRecords(tmp_path)) and not asked(PullRecords(tmp_path), ONE)


class Registry(HollowRuntime):
    """Gives its one image to who knows the password."""

    def __init__(self) -> None:
        super().__init__()
        self.pulls: list[Any] = []
        self.is_present = False

    async def has_image(self, image: str) -> bool:
        return self.is_present

    async def image_id(self, image: str) -> str:
        return ID if self.is_present else ""

    async def pull(self, image: str, auth: dict[str, str] | None) -> None:
        self.pulls.append(auth)
        if auth is None or auth["password"] != "right":
            raise RuntimeFault("ErrImagePull", "unauthorized")
        self.is_present = True


class Secrets:
    """The pull secret of each pod, by its name: its password."""

    async def get(self, kind: Any, namespace: str, name: str) -> core_v1.Secret:
        auth = base64.b64encode(f"user:{name}".encode()).decode()
        config = json.dumps({"auths": {"reg.example.com": {"auth": auth}}}).encode()
        meta = ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}")
        return core_v1.Secret(metadata=meta, data={".dockerconfigjson": config})


async def start(registry: Registry, records: PullRecords, policy: str, *secrets: str) -> list[str]:
    events = Events()

    def event(kind: str, reason: str, message: str, container: str = "") -> None:
        events.record(None, kind, reason, message, container)

    puller = ImagePuller(registry, Secrets(), None, records)  # type: ignore[arg-type]
    one = pod(imagePullSecrets=[{"name": name} for name in secrets])
    try:
        await puller.ensure(ImageRequest(one, IMAGE, policy, "c"), event)
    except RuntimeFault as fault:
        return [*events.reasons(), fault.reason]
    return events.reasons()


async def test_a_pod_without_the_secret_does_not_get_what_another_one_pulled(
    tmp_path: Path,
) -> None:
    registry, records = Registry(), PullRecords(tmp_path)
    assert await start(registry, records, "IfNotPresent", "right") == ["Pulling", "Pulled"]
    assert await start(registry, records, "IfNotPresent", "right") == ["Pulled"]
    refused = await start(registry, records, "IfNotPresent")
    assert refused == ["Pulling", "Failed", "ErrImagePull"]
    assert (await start(registry, records, "Never", "wrong"))[-1] == "ErrImageNeverPull"
    assert await start(registry, records, "Never", "right") == ["Pulled"]
