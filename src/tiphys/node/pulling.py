"""Images: whether one must be pulled, and pulling it with the pod's credentials."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.node.references import References
from tiphys.node.registries import credentials
from tiphys.node.runtime import Runtime, RuntimeFault

Say = Callable[[str, str, str, str], None]  # kind, reason, message, container


async def have_image(runtime: Runtime, references: References, pod: core_v1.Pod, container: Any, say: Say) -> None:
    """Makes sure a container's image is here, as its pull policy wants. Raises RuntimeFault."""
    image, policy, name = container.image, container.image_pull_policy, container.name
    present = await runtime.has_image(image)
    if policy == "Never" and not present:
        text = f'Container image "{image}" is not present with pull policy of Never'
        raise RuntimeFault("ErrImageNeverPull", text)
    if present and (policy != "Always" or _is_local(image)):
        say("Normal", "Pulled", f'Container image "{image}" already present on machine', name)
        return
    say("Normal", "Pulling", f'Pulling image "{image}"', name)
    began = time.monotonic()
    await runtime.pull(image, await _credentials(references, pod, image))
    say("Normal", "Pulled", f'Successfully pulled image "{image}" in {time.monotonic() - began:.3f}s', name)


async def _credentials(references: References, pod: core_v1.Pod, image: str) -> dict[str, str] | None:
    for ref in pod.spec.image_pull_secrets:
        secret = await references.get(core_v1.Secret, pod.metadata.namespace, ref.name)
        found = credentials(secret, image) if secret is not None else None
        if found is not None:
            return found
    return None


def _is_local(image: str) -> bool:
    """Built on this machine and in no registry: there is nothing to pull it from."""
    return image.startswith(("localhost/", "tiphys.local/"))
