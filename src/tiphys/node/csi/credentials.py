"""What drivers are shown to prove who asks: secrets that a volume names, and tokens of a pod's
service account."""

from __future__ import annotations

from tiphys.api import core_v1, storage_v1
from tiphys.node.csi import requests
from tiphys.node.csi.source import SecretName
from tiphys.node.references import References
from tiphys.node.volumes.volumefiles import VolumeError

_TOKEN_SECONDS = 3600  # that a driver's token is valid, unless it says otherwise


class Credentials:
    """All methods raise StatusError, Unreachable."""

    def __init__(self, references: References) -> None:
        self._references = references

    async def secrets(self, name: SecretName | None, field: str) -> dict[str, str]:
        """The content of a secret, which `field` of the volume names. Raises VolumeError."""
        if name is None:
            return {}
        secret = await self._references.get(core_v1.Secret, name.namespace, name.name)
        if secret is None:
            raise VolumeError(
                f"fetching {field} {name.namespace}/{name.name} failed: "
                f"kubernetes.io/csi: failed to find the secret {name.name} in the namespace "
                f'{name.namespace} with error: secrets "{name.name}" not found'
            )
        return {key: value.decode(errors="replace") for key, value in secret.data.items()}

    async def tokens(self, pod: core_v1.Pod, about: storage_v1.CSIDriver) -> dict[str, str]:
        """Those that the driver asks for (`tokenRequests`)."""
        tokens = {}
        for wanted in about.spec.token_requests:
            seconds = wanted.expiration_seconds or _TOKEN_SECONDS
            token = await self._references.token_with_end(pod, wanted.audience, seconds)
            tokens[wanted.audience] = token
        return requests.tokens(tokens)
