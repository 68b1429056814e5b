"""ServiceAccount: the account that a pod runs as, and its token."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tiphys.api import core_v1
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.admission import Asking, Attributes
from tiphys.machinery import errors, names
from tiphys.machinery.podrefs import MIRROR, references
from tiphys.store.cache import Filter

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_ACCOUNTS = BY_PATH["", "v1", "serviceaccounts"]
_RETRIES = 9  # upstream looks ten times for a new namespace's account
_BETWEEN = (0.1, 0.2)  # seconds between two looks
_VOLUME_PREFIX = "kube-api-access-"
_LIFETIME = 3607  # seconds: an hour, and seven that mark upstream's own tokens


class ServiceAccount(Asking):
    """Pods run as a service account, with its token, CA and namespace mounted."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource:
            return
        pod: core_v1.Pod = a.obj
        if MIRROR in pod.metadata.annotations:
            return
        name = pod.spec.service_account_name or "default"
        pod.spec.service_account_name = pod.spec.service_account = name
        account = self._registry().lookup("serviceaccounts", a.namespace, name)
        if account is None and name == "default":
            account = await self._awaited(a.namespace)
        if account is None:
            reason = (
                f"error looking up service account {a.namespace}/{name}: "
                f'serviceaccount "{name}" not found'
            )
            raise errors.forbidden("pods", pod.metadata.name, reason)
        wanted = pod.spec.automount_service_account_token
        if wanted is None:
            wanted = account.automount_service_account_token
        if wanted is not False:
            _mount_token(pod)
        if not pod.spec.image_pull_secrets:
            pod.spec.image_pull_secrets = list(account.image_pull_secrets)

    async def _awaited(self, namespace: str) -> Any | None:
        """The default account of a namespace that may be so new that a controller has yet to make
        it."""
        registry = self._registry()
        view = Filter(_ACCOUNTS.key(namespace, "default"))
        changed = asyncio.Event()
        cache = registry.cache(_ACCOUNTS)
        watcher = cache.watch(view, registry.store.revision, changed.set)
        try:
            await asyncio.wait_for(changed.wait(), _RETRIES * random.uniform(*_BETWEEN))
        except TimeoutError:
            return None
        finally:
            cache.unwatch(watcher)
        return registry.lookup("serviceaccounts", namespace, "default")

    async def validate(self, a: Attributes) -> None:
        """Only the node writes a mirror pod's token or secrets into it, so it may have
        none."""
        if a.operation != "CREATE" or a.subresource or MIRROR not in a.obj.metadata.annotations:
            return
        problem = ""
        if a.obj.spec.service_account_name:
            problem = "a mirror pod may not reference service accounts"
        elif references(a.obj).get("secrets"):
            problem = "a mirror pod may not reference secrets"
        elif any(_holds_token(volume) for volume in a.obj.spec.volumes):
            problem = "a mirror pod may not use ServiceAccountToken volume projections"
        if problem:
            raise errors.forbidden("pods", a.name or a.obj.metadata.name, problem)


def _holds_token(volume: core_v1.Volume) -> bool:
    sources = volume.projected.sources if volume.projected is not None else []
    return any(source.service_account_token is not None for source in sources)


def _mount_token(pod: core_v1.Pod) -> None:
    containers = pod.spec.init_containers + pod.spec.containers
    lacking = [container for container in containers if not _has_token(container)]
    if not lacking:
        return
    volume = next((v.name for v in pod.spec.volumes if _is_token_volume(v)), "")
    if not volume:
        volume = _VOLUME_PREFIX + names.random_suffix()
        pod.spec.volumes.append(core_v1.Volume(name=volume, projected=_token_projection()))
    for container in lacking:
        container.volume_mounts.append(
            core_v1.VolumeMount(name=volume, read_only=True, mount_path=TOKEN_PATH)
        )


def _has_token(container: core_v1.Container) -> bool:
    return any(mount.mount_path == TOKEN_PATH for mount in container.volume_mounts)


def _is_token_volume(volume: core_v1.Volume) -> bool:
    return volume.projected is not None and volume.name.startswith(_VOLUME_PREFIX)


def _token_projection() -> core_v1.ProjectedVolumeSource:
    token = core_v1.ServiceAccountTokenProjection(expiration_seconds=_LIFETIME, path="token")
    authority = core_v1.ConfigMapProjection(
        name="kube-root-ca.crt", items=[core_v1.KeyToPath(key="ca.crt", path="ca.crt")]
    )
    namespace = core_v1.DownwardAPIVolumeFile(
        path="namespace",
        field_ref=core_v1.ObjectFieldSelector(api_version="v1", field_path="metadata.namespace"),
    )
    return core_v1.ProjectedVolumeSource(
        default_mode=0o644,
        sources=[
            core_v1.VolumeProjection(service_account_token=token),
            core_v1.VolumeProjection(config_map=authority),
            core_v1.VolumeProjection(downward_api=core_v1.DownwardAPIProjection(items=[namespace])),
        ],
    )
