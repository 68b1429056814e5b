"""What the downward API exposes to a pod, in variables and in files: which fields and amounts
there are."""

from __future__ import annotations

from tiphys.api.core_v1 import ObjectFieldSelector, ResourceFieldSelector
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

IN_VARIABLES = frozenset(
    (
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    )
)
IN_FILES = frozenset(
    (
        "metadata.name",
        "metadata.namespace",
        "metadata.labels",
        "metadata.annotations",
        "metadata.uid",
    )
)
_MAPS = ("metadata.labels", "metadata.annotations")  # single entries can be exposed, too
# Fields that have a name in this API, whether or not they can be exposed.
_KNOWN = IN_VARIABLES | IN_FILES | {"spec.restartPolicy", "spec.schedulerName", "status.phase"}

_AMOUNTS = frozenset(
    f"{kind}.{name}"
    for kind in ("limits", "requests")
    for name in ("cpu", "memory", "ephemeral-storage")
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_CORES = ("1m", "1")
_BYTES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
# Resource → what errors call it.
_NAMES = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}


def field_errors(
    selector: ObjectFieldSelector, allowed: frozenset[str], path: str
) -> list[FieldError]:
    if not selector.api_version:
        return [errors.required(f"{path}.apiVersion")]
    name = selector.field_path
    if not name:
        return [errors.required(f"{path}.fieldPath")]
    container, key = _subscripted(name)
    problem = _conversion_problem(selector.api_version, name, container)
    if problem:
        detail = f"error converting fieldPath: {problem}"
        return [errors.invalid_value(f"{path}.fieldPath", name, detail)]
    if container:
        # Keys of annotations may have capitals.
        return checks.qualified_name(key.lower() if container == _MAPS[1] else key, path)
    name = "spec.nodeName" if name == "spec.host" else name  # as old clients call it
    return checks.one_of(name, allowed, f"{path}.fieldPath")


def _conversion_problem(version: str, name: str, container: str) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    if container and container not in _MAPS:
        return f"field label does not support subscript: {name}"
    if container or name in _KNOWN or name == "spec.host":
        return ""
    return f"field label not supported: {name}"


def _subscripted(name: str) -> tuple[str, str]:
    """(map, key) of ``metadata.labels['KEY']``; the map is "" of any other field."""
    if not name.endswith("']"):
        return "", ""
    container, bracket, key = name.removesuffix("']").partition("['")
    return (container, key) if bracket else ("", "")


def amount_errors(
    selector: ResourceFieldSelector, path: str, of_file: bool = False
) -> list[FieldError]:
    """A file's has to name the container."""
    name = selector.resource
    violations = []
    if of_file and not selector.container_name:
        violations.append(errors.required(f"{path}.containerName"))
    elif not name:
        violations.append(errors.required(f"{path}.resource"))
    elif not name.startswith(_HUGE_PAGES):
        violations += checks.one_of(name, _AMOUNTS, f"{path}.resource")
    return violations + _divisor(name, selector.divisor, f"{path}.divisor")


def _divisor(name: str, divisor: str, path: str) -> list[FieldError]:
    if divisor == "0":  # not set
        return []
    resource = name.partition(".")[2]
    if name.startswith(_HUGE_PAGES):
        detail = f"only divisor's values {', '.join(_BYTES)} are supported with the hugepages"
        is_known = divisor in _BYTES
    elif name not in _AMOUNTS:
        return []
    elif resource == "cpu":
        detail = "only divisor's values 1m and 1 are supported with the cpu"
        is_known = divisor in _CORES
    else:
        detail = f"only divisor's values {', '.join(_BYTES)} are supported with the"
        detail += f" {_NAMES[resource]}"
        is_known = divisor in _BYTES
    return [] if is_known else [errors.invalid_value(path, name, f"{detail} resource")]
