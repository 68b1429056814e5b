"""Images: whether one must be pulled, and pulling it with the pod's credentials."""

from __future__ import annotations

import time
from collections.abc import Callable

from tiphys.api import core_v1
from tiphys.node.imagenames import ImageNameError, with_tag
from tiphys.node.references import References
from tiphys.node.registries import Login, logins
from tiphys.node.runtime import Runtime, RuntimeFault

Say = Callable[[str, str, str, str], None]  # kind, reason, message, container

PULL_FAULTS = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
)
"""Why an image is not to be had. Events tell the reason of these, after one that tells more."""


async def have_image(
    runtime: Runtime,
    references: References,
    pod: core_v1.Pod,
    image: str,
    policy: str,
    name: str,
    say: Say,
) -> None:
    """Makes sure an image is here, as a pull policy wants, for the container `name` or, if that is empty, for a volume.
    Raises RuntimeFault."""
    try:
        tagged = with_tag(image)
    except ImageNameError as error:
        text = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {error}'
        say("Warning", "InspectFailed", text, name)
        raise RuntimeFault("InvalidImageName", text) from None
    present = await runtime.has_image(tagged)
    if policy == "Never" and not present:
        text = f'Container image "{image}" is not present with pull policy of Never'
        say("Warning", "ErrImageNeverPull", text, name)
        raise RuntimeFault("ErrImageNeverPull", text)
    if present and (policy != "Always" or _is_local(image)):
        text = (
            f'Container image "{image}" already present on machine and can be accessed by the pod'
        )
        say("Normal", "Pulled", text, name)
        return
    say("Normal", "Pulling", f'Pulling image "{image}"', name)
    began = time.monotonic()
    try:
        await _pull(runtime, references, pod, tagged)
    except RuntimeFault as fault:
        say("Warning", "Failed", f'Failed to pull image "{image}": {fault}', name)
        raise
    took = time.monotonic() - began
    size = await runtime.image_size(tagged)
    text = f"{took:.3f}s ({took:.3f}s including waiting). Image size: {size} bytes."
    say("Normal", "Pulled", f'Successfully pulled image "{image}" in {text}', name)


async def _pull(runtime: Runtime, references: References, pod: core_v1.Pod, image: str) -> None:
    """With one login after the other, or with none if there is none for the image."""
    found = [
        await references.get(core_v1.Secret, pod.metadata.namespace, ref.name)
        for ref in pod.spec.image_pull_secrets
    ]
    faults: list[RuntimeFault] = []
    tried: list[Login | None] = list(
        logins([secret for secret in found if secret is not None], image)
    )
    for login in tried or [None]:
        try:
            return await runtime.pull(image, login)
        except RuntimeFault as fault:
            faults.append(fault)
    texts = list(dict.fromkeys(str(fault) for fault in faults))
    raise RuntimeFault(faults[0].reason, texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


def _is_local(image: str) -> bool:
    """Built on this machine and in no registry: there is nothing to pull it from."""
    return image.startswith(("localhost/", "tiphys.local/"))
