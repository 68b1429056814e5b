"""A container's environment: its own variables, those from ConfigMaps, Secrets and files, and the
addresses of services."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.node.containers import envfiles
from tiphys.node.containers.fields import field, resource
from tiphys.node.references import References
from tiphys.node.runtime import RuntimeFault

log = logging.getLogger(__name__)

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")
_API_SERVER = ("default", "kubernetes")  # the service that every container has variables of


class ContainerFacts(NamedTuple):
    """What a container's variables may be about. The status may not say `pod_ips` yet."""

    pod: core_v1.Pod
    container: Any
    pod_ips: tuple[str, ...]
    host_ips: tuple[str, ...]
    allocatable: dict[str, str]


def expand(text: str, env: dict[str, str]) -> str:
    """``$(NAME)`` becomes the variable's value where there is one; ``$$`` becomes a dollar."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def service_variables(
    services: Iterable[core_v1.Service], namespace: str, links: bool
) -> dict[str, str]:
    """The variables of the API server's service and, with `links`, of those of the namespace."""
    env: dict[str, str] = {}
    for service in services:
        meta = service.metadata
        is_linked = links and meta.namespace == namespace
        is_api_server = (meta.namespace, meta.name) == _API_SERVER
        has_address = service.spec.cluster_ip not in ("", "None")
        if has_address and (is_linked or is_api_server):
            env |= _variables_of(service)
    return env


def _variables_of(service: core_v1.Service) -> dict[str, str]:
    """The names are those of Docker's links, as upstream has them."""
    spec = service.spec
    address = spec.cluster_ip
    prefix = _variable_name(service.metadata.name)
    env = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(spec.ports[0].port) if spec.ports else "",
    }
    for index, port in enumerate(spec.ports):
        protocol = port.protocol.lower()
        url = f"{protocol}://{address}:{port.port}"
        if port.name:
            env[f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}"] = str(port.port)
        if index == 0:
            env[f"{prefix}_PORT"] = url
        name = f"{prefix}_PORT_{port.port}_{port.protocol}"
        env[name] = url
        env[f"{name}_PROTO"] = protocol
        env[f"{name}_PORT"] = str(port.port)
        env[f"{name}_ADDR"] = address
    return env


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")


async def environment(
    facts: ContainerFacts,
    references: References,
    services: Iterable[core_v1.Service],
    paths: Mapping[str, str],
) -> dict[str, str]:
    """All variables, with references resolved. `paths` are the folders of volumes. Raises
    RuntimeFault(CreateContainerConfigError) for what is missing."""
    pod = facts.pod
    links = pod.spec.enable_service_links is not False
    env = service_variables(services, pod.metadata.namespace, links)
    for source in facts.container.env_from:
        env |= await _variables_from(source, references, pod.metadata.namespace)
    own: dict[str, str] = {}
    for variable in facts.container.env:
        value: str | None = expand(variable.value, {**env, **own})
        if variable.value_from is not None:
            value = await _value_from(facts, variable.value_from, references, paths)
        if value is not None:
            own[variable.name] = value
    return env | own


async def _variables_from(
    source: core_v1.EnvFromSource, references: References, namespace: str
) -> dict[str, str]:
    """Every key of a ConfigMap or Secret as a variable."""
    ref: Any = source.config_map_ref or source.secret_ref
    kind: Any = core_v1.ConfigMap if source.config_map_ref else core_v1.Secret
    if ref is None:
        return {}
    referenced = await references.get(kind, namespace, ref.name)
    if referenced is None:
        if ref.optional:
            return {}
        raise _missing(kind, ref.name)
    return {source.prefix + key: _text(value) for key, value in referenced.data.items()}


async def _value_from(
    facts: ContainerFacts,
    source: core_v1.EnvVarSource,
    references: References,
    paths: Mapping[str, str],
) -> str | None:
    """None for a variable that is not set, because what it refers to is optional."""
    pod = facts.pod
    if source.file_key_ref is not None:
        return await asyncio.to_thread(_value_from_file, source.file_key_ref, paths)
    if source.field_ref is not None:
        return field(pod, source.field_ref.field_path, facts.host_ips, facts.pod_ips)
    if source.resource_field_ref is not None:
        return resource(pod, facts.container, source.resource_field_ref, facts.allocatable)
    namespace = pod.metadata.namespace
    if source.config_map_key_ref is not None:
        return await _value_of_key(
            core_v1.ConfigMap, source.config_map_key_ref, references, namespace
        )
    if source.secret_key_ref is not None:
        return await _value_of_key(core_v1.Secret, source.secret_key_ref, references, namespace)
    return None


async def _value_of_key(kind: Any, ref: Any, references: References, namespace: str) -> str | None:
    referenced = await references.get(kind, namespace, ref.name)
    if referenced is not None and ref.key in referenced.data:
        return _text(referenced.data[ref.key])
    if ref.optional:
        return None
    if referenced is None:
        raise _missing(kind, ref.name)
    text = f"couldn't find key {ref.key} in {kind.__name__} {namespace}/{ref.name}"
    raise RuntimeFault("CreateContainerConfigError", text)


def _value_from_file(ref: core_v1.FileKeySelector, paths: Mapping[str, str]) -> str | None:
    folder = paths.get(ref.volume_name)
    if folder is None:
        text = f'cannot find the volume "{ref.volume_name}" referenced by FileKeyRef'
        raise RuntimeFault("CreateContainerConfigError", text)
    try:
        value = envfiles.variable(folder, ref.path, ref.key)
    except (OSError, ValueError) as error:
        log.info("Variables cannot be read from file %s: %s", ref.path, error)
        raise RuntimeFault("CreateContainerConfigError", "couldn't parse env file") from None
    if not value and not ref.optional:
        text = f'environment variable key "{ref.key}" not found in file "{folder}/{ref.path}"'
        raise RuntimeFault("CreateContainerConfigError", text)
    return value or None


def _missing(kind: Any, name: str) -> RuntimeFault:
    return RuntimeFault("CreateContainerConfigError", f'{kind.__name__.lower()} "{name}" not found')


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="surrogateescape")
