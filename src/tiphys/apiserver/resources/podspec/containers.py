"""The containers of a pod: their names, images, ports, and when each of them restarts."""

from __future__ import annotations

from tiphys.api.core_v1 import (
    Container,
    ContainerPort,
    ContainerRestartRule,
    EphemeralContainer,
    PodSpec,
)
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.podspec.environment import validate_environment
from tiphys.apiserver.resources.podspec.handlers import (
    validate_handlers,
    validate_lifecycle_in_pod,
)
from tiphys.apiserver.resources.podspec.mounts import validate_devices, validate_mounts
from tiphys.apiserver.resources.podspec.requirements import (
    claim_names,
    validate_resize_policies,
    validate_resources,
)
from tiphys.apiserver.resources.podspec.security import validate_security
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, port_name_errors

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_RESTART_ACTIONS = ("Restart", "RestartAllContainers")
_MOST_RESTART_RULES = 20
_MOST_EXIT_CODES = 255


def validate_containers(spec: PodSpec, volumes: set[str], path: str) -> list[FieldError]:
    """Every container of a pod, of every kind; `volumes` are the names that mounts may use."""
    violations = []
    seen: set[str] = set()
    for kind, containers in (
        ("containers", spec.containers),
        ("initContainers", spec.init_containers),
    ):
        initial = kind == "initContainers"
        for index, container in enumerate(containers):
            field = f"{path}.{kind}[{index}]"
            violations += _container(container, volumes, seen, field, initial)
            violations += _in_pod(container, spec, field)
    names = {container.name for container in [*spec.containers, *spec.init_containers]}
    for index, ephemeral in enumerate(spec.ephemeral_containers):
        field = f"{path}.ephemeralContainers[{index}]"
        violations += _ephemeral(ephemeral, names, field)
        violations += _container(ephemeral, volumes, seen, field, initial=False)
    if spec.host_network:
        violations += _host_ports(spec, path)
    return violations


# Most pods ask for little. What a container leaves out is not checked: this is the longest part
# of a pod's creation.
def _container(
    container: Container | EphemeralContainer,
    volumes: set[str],
    seen: set[str],
    path: str,
    initial: bool,
) -> list[FieldError]:
    """A container by itself. `seen` are the names of those before it, and gets this one's."""
    violations = _name(container.name, seen, f"{path}.name")
    violations += _image(container.image, f"{path}.image")
    policy = container.image_pull_policy
    if policy not in _PULL_POLICIES:
        field = f"{path}.imagePullPolicy"
        violations.append(errors.not_supported(field, policy, _PULL_POLICIES))
    policy = container.termination_message_policy
    if policy not in _MESSAGE_POLICIES:
        field = f"{path}.terminationMessagePolicy"
        violations.append(errors.not_supported(field, policy, _MESSAGE_POLICIES))
    if container.ports:
        violations += _ports(container.ports, f"{path}.ports")
    if container.env or container.env_from:
        violations += validate_environment(container.env, container.env_from, path)
    if container.volume_mounts:
        violations += validate_mounts(container, volumes, f"{path}.volumeMounts")
    violations += validate_resources(container.resources, f"{path}.resources")
    if container.security_context is not None:
        violations += validate_security(container.security_context, f"{path}.securityContext")
    if container.restart_policy is not None or container.restart_policy_rules:
        violations += _restarts(container, path)
    return violations + validate_handlers(container, path, initial)


def _in_pod(container: Container, spec: PodSpec, path: str) -> list[FieldError]:
    """What a container refers to in the rest of its pod, and what that must be like."""
    violations = []
    if container.lifecycle is not None:
        violations += validate_lifecycle_in_pod(container.lifecycle, spec, f"{path}.lifecycle")
    if container.volume_devices:
        violations += validate_devices(container, spec, f"{path}.volumeDevices")
    if container.resources.claims:
        claims = container.resources.claims
        violations += claim_names(claims, spec, f"{path}.resources.claims")
    if container.resize_policy:
        policies = container.resize_policy
        violations += validate_resize_policies(policies, spec, f"{path}.resizePolicy")
    return violations


def _name(name: str, seen: set[str], path: str) -> list[FieldError]:
    if not name:
        violations = [errors.required(path)]
    else:
        violations = checks.obeys(name, dns_label_errors, path)
        if not violations and name in seen:
            violations.append(errors.duplicate(path, name))
    seen.add(name)
    return violations


def _image(image: str, path: str) -> list[FieldError]:
    if not image:
        return [errors.required(path)]
    if image != image.strip():
        detail = "must not have leading or trailing whitespace"
        return [errors.invalid_value(path, image, detail)]
    return []


def _ports(ports: list[ContainerPort], path: str) -> list[FieldError]:
    violations = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        field = f"{path}[{index}]"
        if port.name:
            violations += checks.obeys(port.name, port_name_errors, f"{field}.name")
            if port.name in names:
                violations.append(errors.duplicate(f"{field}.name", port.name))
            names.add(port.name)
        if port.container_port:
            violations += checks.port(port.container_port, f"{field}.containerPort")
        else:
            violations.append(errors.required(f"{field}.containerPort"))
        if port.host_port:
            violations += checks.port(port.host_port, f"{field}.hostPort")
        if port.protocol not in _PROTOCOLS:
            violations.append(errors.not_supported(f"{field}.protocol", port.protocol, _PROTOCOLS))
    return violations


def _host_ports(spec: PodSpec, path: str) -> list[FieldError]:
    """In the node's network a port is the node's; of a template it may be left to the pods."""
    violations = []
    detail = "must match `containerPort` when `hostNetwork` is true"
    for number, container in enumerate(spec.containers):
        for index, port in enumerate(container.ports):
            if port.host_port and port.host_port != port.container_port:
                field = f"{path}.containers[{number}].ports[{index}].hostPort"
                violations.append(errors.invalid_value(field, port.host_port, detail))
    return violations


# --- restarts ---


def _restarts(container: Container | EphemeralContainer, path: str) -> list[FieldError]:
    """When a container restarts, in spite of its pod's policy."""
    policy = container.restart_policy
    rules = container.restart_policy_rules
    violations = checks.one_of(policy, _RESTART_POLICIES, f"{path}.restartPolicy")
    if rules and policy is None:
        detail = "must specify restartPolicy when restart rules are used"
        violations.append(errors.required(f"{path}.restartPolicy", detail))
    if len(rules) > _MOST_RESTART_RULES:
        field = f"{path}.restartPolicyRules"
        violations.append(errors.too_many(field, len(rules), _MOST_RESTART_RULES))
    for index, rule in enumerate(rules):
        violations += _restart_rule(rule, f"{path}.restartPolicyRules[{index}]")
    return violations


def _restart_rule(rule: ContainerRestartRule, path: str) -> list[FieldError]:
    violations = []
    if rule.action not in _RESTART_ACTIONS:
        violations.append(errors.not_supported(f"{path}.action", rule.action, _RESTART_ACTIONS))
    codes = rule.exit_codes
    if codes is None:
        return [*violations, errors.required(f"{path}.exitCodes", "must be specified")]
    field = f"{path}.exitCodes"
    if codes.operator not in ("In", "NotIn"):
        operators = ("In", "NotIn")
        violations.append(errors.not_supported(f"{field}.operator", codes.operator, operators))
    if not codes.values:
        violations.append(errors.required(f"{field}.values", "must specify at least one value"))
    elif len(codes.values) > _MOST_EXIT_CODES:
        count = len(codes.values)
        violations.append(errors.too_many(f"{field}.values", count, _MOST_EXIT_CODES))
    for index, code in enumerate(codes.values):
        violations += checks.within(code, 0, 255, f"{field}.values[{index}]")
    return violations


# --- ephemeral containers ---

# JSON name → attribute.
_NOT_EPHEMERAL = {
    "ports": "ports",
    "resources": "resources",
    "livenessProbe": "liveness_probe",
    "readinessProbe": "readiness_probe",
    "startupProbe": "startup_probe",
    "lifecycle": "lifecycle",
    "resizePolicy": "resize_policy",
    "restartPolicy": "restart_policy",
}
_BLANK = Container()


def _ephemeral(container: EphemeralContainer, others: set[str], path: str) -> list[FieldError]:
    """What a container that is added to a running pod may not ask for."""
    detail = "cannot be set for an Ephemeral Container"
    violations = [
        errors.forbidden_field(f"{path}.{name}", detail)
        for name, attribute in _NOT_EPHEMERAL.items()
        if getattr(container, attribute) != getattr(_BLANK, attribute)
    ]
    for index, mount in enumerate(container.volume_mounts):
        field = f"{path}.volumeMounts[{index}]"
        if mount.sub_path:
            violations.append(errors.forbidden_field(f"{field}.subPath", detail))
        if mount.sub_path_expr:
            violations.append(errors.forbidden_field(f"{field}.subPathExpr", detail))
    target = container.target_container_name
    if target and target not in others:
        violations.append(errors.field_not_found(f"{path}.targetContainerName", target))
    return violations
