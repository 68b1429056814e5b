"""Images: whether one must be pulled, and pulling it with the pod's credentials."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

from tiphys.api import core_v1
from tiphys.node.images.access import SecretUse
from tiphys.node.images.collection import PulledImages
from tiphys.node.images.names import ImageNameError, name_on_node, with_tag
from tiphys.node.images.pullrecords import PullRecords
from tiphys.node.images.registries import Credential, credentials
from tiphys.node.references import References
from tiphys.node.runtime import Runtime, RuntimeFault

# The reasons of a RuntimeFault for which an image is not on the node. An event of its own has shown
# the message, so that the one about the container shows the reason alone.
PULL_FAULTS = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
)
# Images that were built on this machine and are in no registry to pull them from.
_LOCAL_REGISTRIES = ("localhost/", "tiphys.local/")


class RecordEvent(Protocol):
    """Records an event about a pod, or about one of its containers."""

    def __call__(self, kind: str, reason: str, message: str, container: str = "") -> None: ...


class ImageRequest(NamedTuple):
    """An image that a pod needs, for the container of a name or, if that is empty, for a volume."""

    pod: core_v1.Pod
    image: str
    policy: str
    container: str = ""


class ImagePuller:
    """Has images on the node before containers are created from them."""

    def __init__(
        self,
        runtime: Runtime,
        references: References,
        pulled: PulledImages | None = None,
        records: PullRecords | None = None,
    ) -> None:
        """`pulled` is where images that this node has pulled are written down, `records` with whose
        secrets."""
        self._records = records
        self._runtime = runtime
        self._references = references
        self._pulled = pulled

    async def ensure(self, wanted: ImageRequest, event: RecordEvent) -> float:
        """Pulls the image if its policy says so; returns the seconds that it took, 0 if the image
        was there. Raises RuntimeFault with one of PULL_FAULTS."""
        image = wanted.image
        container = wanted.container
        try:
            tagged = with_tag(image)
        except ImageNameError as error:
            text = (
                f'Failed to apply default image tag "{image}": '
                f'couldn\'t parse image name "{image}": {error}'
            )
            event("Warning", "InspectFailed", text, container)
            raise RuntimeFault("InvalidImageName", text) from None
        is_present = await self._runtime.has_image(tagged)
        if is_present and await self._may_use(wanted, tagged):
            text = "already present on machine and can be accessed by the pod"
            event("Normal", "Pulled", f'Container image "{image}" {text}', container)
            return 0.0
        if wanted.policy == "Never":
            text = f'Container image "{image}" is not present with pull policy of Never'
            event("Warning", "ErrImageNeverPull", text, container)
            raise RuntimeFault("ErrImageNeverPull", text)
        event("Normal", "Pulling", f'Pulling image "{image}"', container)
        started_at = time.monotonic()
        try:
            await self._pull_noted(image, tagged, await self._secrets(wanted.pod))
        except RuntimeFault as fault:
            event("Warning", "Failed", f'Failed to pull image "{image}": {fault}', container)
            raise
        if self._pulled is not None:
            self._pulled.add(name_on_node(tagged))
        took = time.monotonic() - started_at
        size = await self._runtime.image_size(tagged)
        text = f"{took:.3f}s ({took:.3f}s including waiting). Image size: {size} bytes."
        event("Normal", "Pulled", f'Successfully pulled image "{image}" in {text}', container)
        return took

    async def _secrets(self, pod: core_v1.Pod) -> list[core_v1.Secret]:
        """The pod's pull secrets, those that there are."""
        secrets = []
        for ref in pod.spec.image_pull_secrets:
            secret = await self._references.get(core_v1.Secret, pod.metadata.namespace, ref.name)
            if secret is not None:
                secrets.append(secret)
        return secrets

    async def _may_use(self, wanted: ImageRequest, tagged: str) -> bool:
        """Whether the pod need not pull an image that is there."""
        if wanted.policy == "Always":
            return wanted.image.startswith(_LOCAL_REGISTRIES)
        if self._records is None or not self._records.is_asked:
            return True
        secrets = await self._secrets(wanted.pod)
        id = await self._runtime.image_id(tagged)
        return not self._records.must_pull(
            wanted.image,
            id,
            lambda: [credential.secret for credential in credentials(secrets, tagged)],
        )

    async def _pull_noted(self, image: str, tagged: str, secrets: list[core_v1.Secret]) -> None:
        """Raises RuntimeFault."""
        if self._records is None:
            await self._pull(tagged, secrets)
            return
        try:
            self._records.note_intent(image)
        except OSError as error:
            text = f"failed to record image pull intent: {error}"
            raise RuntimeFault("ErrImagePull", text) from None
        try:
            used = await self._pull(tagged, secrets)
            id = await self._runtime.image_id(tagged)
            if id:
                self._records.note_pulled(image, id, used)
        finally:
            self._records.forget_intent(image)

    async def _pull(self, image: str, secrets: list[core_v1.Secret]) -> SecretUse | None:
        """Tries each login that the pod's pull secrets have for the image, or none if they have
        none. Returns the secret that it took."""
        attempts: list[Credential | None] = [*credentials(secrets, image)]
        faults: list[RuntimeFault] = []
        for attempt in attempts or [None]:
            try:
                await self._runtime.pull(image, attempt.login if attempt is not None else None)
                return attempt.secret if attempt is not None else None
            except RuntimeFault as fault:
                faults.append(fault)
        messages = list(dict.fromkeys(str(fault) for fault in faults))
        message = messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]"
        raise RuntimeFault(faults[0].reason, message)
