"""Images: whether one must be pulled, and pulling it with the pod's credentials."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

from tiphys.api import core_v1
from tiphys.node.images.collection import PulledImages
from tiphys.node.images.names import ImageNameError, name_on_node, with_tag
from tiphys.node.images.registries import Login, logins
from tiphys.node.references import References
from tiphys.node.runtime import Runtime, RuntimeFault

# The reasons of a RuntimeFault for which an image is not on the node. An event of its own has told
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
        self, runtime: Runtime, references: References, pulled: PulledImages | None = None
    ) -> None:
        """`pulled` is where images that this node has pulled are written down."""
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
        if not is_present and wanted.policy == "Never":
            text = f'Container image "{image}" is not present with pull policy of Never'
            event("Warning", "ErrImageNeverPull", text, container)
            raise RuntimeFault("ErrImageNeverPull", text)
        if is_present and (wanted.policy != "Always" or image.startswith(_LOCAL_REGISTRIES)):
            text = "already present on machine and can be accessed by the pod"
            event("Normal", "Pulled", f'Container image "{image}" {text}', container)
            return 0.0
        event("Normal", "Pulling", f'Pulling image "{image}"', container)
        started_at = time.monotonic()
        try:
            await self._pull(wanted.pod, tagged)
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

    async def _pull(self, pod: core_v1.Pod, image: str) -> None:
        """Tries each login that the pod's pull secrets have for the image, or none if they have
        none."""
        secrets = []
        for ref in pod.spec.image_pull_secrets:
            secret = await self._references.get(core_v1.Secret, pod.metadata.namespace, ref.name)
            if secret is not None:
                secrets.append(secret)
        attempts: list[Login | None] = [*logins(secrets, image)]
        faults: list[RuntimeFault] = []
        for login in attempts or [None]:
            try:
                return await self._runtime.pull(image, login)
            except RuntimeFault as fault:
                faults.append(fault)
        messages = list(dict.fromkeys(str(fault) for fault in faults))
        message = messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]"
        raise RuntimeFault(faults[0].reason, message)
