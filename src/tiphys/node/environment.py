"""A container's environment: its own variables, those from ConfigMaps and Secrets, and where the services are."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.api import core_v1
from tiphys.node import envfiles
from tiphys.node.fields import field, resource
from tiphys.node.references import References
from tiphys.node.runtime import RuntimeFault

log = logging.getLogger(__name__)

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")


def expand(text: str, env: dict[str, str]) -> str:
    """``$(NAME)`` becomes the variable's value where there is one; ``$$`` is a dollar."""
    return _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), text)


def service_variables(
    services: Iterable[core_v1.Service], namespace: str, links: bool
) -> dict[str, str]:
    """The variables that tell a container where services are: always the API server, others when links are on."""
    env: dict[str, str] = {}
    for service in services:
        meta, spec = service.metadata, service.spec
        master = (meta.namespace, meta.name) == ("default", "kubernetes")
        if spec.cluster_ip in ("", "None") or not (
            master or (links and meta.namespace == namespace)
        ):
            continue
        prefix = meta.name.upper().replace("-", "_")
        env[f"{prefix}_SERVICE_HOST"] = spec.cluster_ip
        env[f"{prefix}_SERVICE_PORT"] = str(spec.ports[0].port) if spec.ports else ""
        for index, port in enumerate(spec.ports):
            if port.name:
                env[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
            url = f"{port.protocol.lower()}://{spec.cluster_ip}:{port.port}"
            if index == 0:
                env[f"{prefix}_PORT"] = url
            name = f"{prefix}_PORT_{port.port}_{port.protocol}"
            env |= {
                name: url,
                f"{name}_PROTO": port.protocol.lower(),
                f"{name}_PORT": str(port.port),
                f"{name}_ADDR": spec.cluster_ip,
            }
    return env


async def environment(
    pod: core_v1.Pod,
    container: Any,
    references: References,
    services: Iterable[core_v1.Service],
    host_ip: str,
    allocatable: dict[str, str],
    paths: Mapping[str, str],
) -> dict[str, str]:
    """Everything resolved. `paths` are the folders of volumes. Raises RuntimeFault(CreateContainerConfigError) for what is missing."""
    namespace = pod.metadata.namespace
    env = service_variables(services, namespace, pod.spec.enable_service_links is not False)
    for source in container.env_from:
        ref, kind = (
            (source.config_map_ref, core_v1.ConfigMap)
            if source.config_map_ref
            else (source.secret_ref, core_v1.Secret)
        )
        if ref is None:
            continue
        found = await references.get(kind, namespace, ref.name)
        if found is None:
            if not ref.optional:
                raise _missing(kind, ref.name)
            continue
        env |= {source.prefix + key: _text(value) for key, value in found.data.items()}
    own: dict[str, str] = {}
    for variable in container.env:
        value = expand(variable.value, {**env, **own})
        if variable.value_from is not None:
            if variable.value_from.file_key_ref is not None:
                got = await asyncio.to_thread(_from_file, variable.value_from.file_key_ref, paths)
            else:
                got = await _value_from(
                    pod, container, variable.value_from, references, host_ip, allocatable
                )
            if got is None:
                continue
            value = got
        own[variable.name] = value
    return env | own


async def _value_from(
    pod: core_v1.Pod,
    container: Any,
    source: core_v1.EnvVarSource,
    references: References,
    host_ip: str,
    allocatable: dict[str, str],
) -> str | None:
    if source.field_ref is not None:
        return field(pod, source.field_ref.field_path, host_ip)
    if source.resource_field_ref is not None:
        return resource(pod, container, source.resource_field_ref, allocatable)
    for ref, kind in (
        (source.config_map_key_ref, core_v1.ConfigMap),
        (source.secret_key_ref, core_v1.Secret),
    ):
        if ref is None:
            continue
        found = await references.get(kind, pod.metadata.namespace, ref.name)
        if found is None and not ref.optional:
            raise _missing(kind, ref.name)
        if found is None or ref.key not in found.data:
            if ref.optional:
                return None
            text = f"couldn't find key {ref.key} in {kind.__name__} {pod.metadata.namespace}/{ref.name}"
            raise RuntimeFault("CreateContainerConfigError", text)
        return _text(found.data[ref.key])
    return None


def _from_file(ref: core_v1.FileKeySelector, paths: Mapping[str, str]) -> str | None:
    folder = paths.get(ref.volume_name)
    if folder is None:
        text = f'cannot find the volume "{ref.volume_name}" referenced by FileKeyRef'
        raise RuntimeFault("CreateContainerConfigError", text)
    try:
        found = envfiles.variable(folder, ref.path, ref.key)
    except (OSError, ValueError) as error:
        log.info("reading variables from %s: %s", ref.path, error)
        raise RuntimeFault("CreateContainerConfigError", "couldn't parse env file") from None
    if not found and not ref.optional:
        text = f'environment variable key "{ref.key}" not found in file "{folder}/{ref.path}"'
        raise RuntimeFault("CreateContainerConfigError", text)
    return found or None


def _missing(kind: Any, name: str) -> RuntimeFault:
    return RuntimeFault("CreateContainerConfigError", f'{kind.__name__.lower()} "{name}" not found')


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="surrogateescape")
