"""The files of volumes that are made from objects: ConfigMaps, Secrets, the pod's own fields, and
tokens of its service account."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.node.containers.fields import field, resource
from tiphys.node.containers.nonroot import run_as_user
from tiphys.node.references import References
from tiphys.node.volumes.projection import File, Files

_MODE = 0o644  # of files whose mode nothing says
_TOKEN_MODE = 0o600  # of tokens that one user or group reads
_TOKEN_SECONDS = 3600  # that a token is valid, unless the volume says otherwise


class VolumeError(Exception):
    """A volume cannot be set up now; the text is for the pod's events.

    step: what failed, as upstream calls it
    volume: the volume's name in events: that of the persistent volume behind a claim
    """

    def __init__(self, text: str, step: str = "MountVolume.SetUp", volume: str = "") -> None:
        super().__init__(text)
        self.step = step
        self.volume = volume

    @property
    def event(self) -> str:
        """As upstream words it."""
        return f'{self.step} failed for volume "{self.volume}" : {self}'


class VolumePending(VolumeError):
    """A volume is not there yet, which is no failure: it is being attached, say."""


class VolumesExhausted(VolumePending):
    """The node has as many volumes of a driver as it can: another node may have room."""


def is_made_of_objects(volume: core_v1.Volume) -> bool:
    sources = (volume.config_map, volume.secret, volume.projected, volume.downward_api)
    return any(source is not None for source in sources)


class VolumeFiles:
    """Reads the objects that volumes are made of. `allocatable` is the node's, for fields of
    limits that are not set."""

    def __init__(self, references: References, allocatable: dict[str, str]) -> None:
        self._references = references
        self._allocatable = allocatable

    async def of(self, pod: core_v1.Pod, volume: core_v1.Volume) -> Files:
        """The files of a volume that `is_made_of_objects`. Raises VolumeError."""
        namespace = pod.metadata.namespace
        if volume.config_map is not None:
            source = volume.config_map
            return await self._config_map(namespace, source.name, source, source.default_mode)
        if volume.secret is not None:
            secret = volume.secret
            name = secret.secret_name
            return await self._secret(namespace, name, secret, secret.default_mode)
        if volume.downward_api is not None:
            return self._downward(pod, volume.downward_api.items, volume.downward_api.default_mode)
        assert volume.projected is not None
        files: Files = {}
        for projection in volume.projected.sources:
            files |= await self._projected(pod, projection, volume.projected.default_mode)
        return files

    async def _projected(
        self, pod: core_v1.Pod, source: core_v1.VolumeProjection, mode: int | None
    ) -> Files:
        namespace = pod.metadata.namespace
        if source.config_map is not None:
            name = source.config_map.name
            return await self._config_map(namespace, name, source.config_map, mode)
        if source.secret is not None:
            return await self._secret(namespace, source.secret.name, source.secret, mode)
        if source.downward_api is not None:
            return self._downward(pod, source.downward_api.items, mode)
        if source.service_account_token is not None:
            wanted = source.service_account_token
            seconds = wanted.expiration_seconds or _TOKEN_SECONDS
            token = await self._references.token(pod, wanted.audience, seconds)
            return {wanted.path: token_file(pod, token, mode)}
        return {}

    async def _config_map(self, namespace: str, name: str, source: Any, mode: int | None) -> Files:
        config_map = await self._references.get(core_v1.ConfigMap, namespace, name)
        if config_map is None:
            return _absent("configmap", name, source)
        data = {key: text.encode() for key, text in config_map.data.items()}
        return _select({**data, **config_map.binary_data}, "config", source, mode)

    async def _secret(self, namespace: str, name: str, source: Any, mode: int | None) -> Files:
        secret = await self._references.get(core_v1.Secret, namespace, name)
        if secret is None:
            return _absent("secret", name, source)
        return _select(dict(secret.data), "secret", source, mode)

    def _downward(
        self, pod: core_v1.Pod, items: list[core_v1.DownwardAPIVolumeFile], mode: int | None
    ) -> Files:
        files: Files = {}
        for item in items:
            if item.field_ref is not None:
                text = field(pod, item.field_ref.field_path)
            else:
                assert item.resource_field_ref is not None
                container = pod.spec.containers[0]
                text = resource(pod, container, item.resource_field_ref, self._allocatable)
            files[item.path] = File(text.encode(), _first_mode(item.mode, mode))
        return files


def _absent(kind: str, name: str, source: Any) -> Files:
    if source.optional:
        return {}
    raise VolumeError(f'{kind} "{name}" not found')


def _select(data: dict[str, bytes], kind: str, source: Any, mode: int | None) -> Files:
    """The keys of an object that a volume shows: all of them, or those of its items."""
    if not source.items:
        return {key: File(value, _first_mode(mode)) for key, value in data.items()}
    files: Files = {}
    for item in source.items:
        if item.key in data:
            files[item.path] = File(data[item.key], _first_mode(item.mode, mode))
        elif not source.optional:
            raise VolumeError(f"references non-existent {kind} key: {item.key}")
    return files


def _first_mode(*modes: int | None) -> int:
    return next((mode for mode in modes if mode is not None), _MODE)


def token_file(pod: core_v1.Pod, token: str, mode: int | None) -> File:
    """Only for the user that all containers run as, if there is one, and the pod's group."""
    spec = pod.spec
    containers = [*spec.init_containers, *spec.containers, *spec.ephemeral_containers]
    users = {run_as_user(pod, container) for container in containers}
    user = users.pop() if len(users) == 1 else None
    security = spec.security_context
    has_group = security is not None and security.fs_group is not None
    if user is not None or has_group:
        mode = _TOKEN_MODE  # the volume's group adds its bits to it
    return File(token.encode(), _first_mode(mode), -1 if user is None else user)
