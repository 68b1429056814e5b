"""The rules of a pod's containers: names, ports, environment, mounts, resources, probes."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.checks import PORT_RANGE, one_of
from tiphys.apiserver.resources.podcontext import claim_names, validate_security
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, port_name_errors

_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def validate_containers(spec: v1.PodSpec, path: str, volumes: set[str]) -> list[FieldError]:
    """Every container of a pod, of every kind; `volumes` are the names that mounts may use."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for kind, containers in (
        ("containers", spec.containers),
        ("initContainers", spec.init_containers),
    ):
        for index, container in enumerate(containers):
            _container(
                container,
                f"{path}.{kind}[{index}]",
                volumes,
                seen,
                found,
                init=kind == "initContainers",
            )
            found += _stop_signal(
                container.lifecycle, spec, f"{path}.{kind}[{index}].lifecycle.stopSignal"
            )
            found += _of_the_pod(container, spec, f"{path}.{kind}[{index}]")
    names = {container.name for container in spec.containers + spec.init_containers}
    for index, ephemeral in enumerate(spec.ephemeral_containers):
        at = f"{path}.ephemeralContainers[{index}]"
        found += _ephemeral(ephemeral, at, names)
        _container(ephemeral, at, volumes, seen, found, init=False)
    if spec.host_network:
        _host_ports(spec, path, found)
    return found


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
_NOTHING = v1.Container()


def _ephemeral(container: v1.EphemeralContainer, at: str, others: set[str]) -> list[FieldError]:
    """What a container that is added to a running pod may not ask for."""
    why = "cannot be set for an Ephemeral Container"
    found = [
        errors.forbidden_field(f"{at}.{name}", why)
        for name, attribute in _NOT_EPHEMERAL.items()
        if getattr(container, attribute) != getattr(_NOTHING, attribute)
    ]
    for index, mount in enumerate(container.volume_mounts):
        for name, value in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
            if value:
                found.append(errors.forbidden_field(f"{at}.volumeMounts[{index}].{name}", why))
    if container.target_container_name and container.target_container_name not in others:
        found.append(
            errors.field_not_found(f"{at}.targetContainerName", container.target_container_name)
        )
    return found


_SIGNALS = frozenset(
    (
        *(
            f"SIG{name}"
            for name in (
                "ABRT",
                "ALRM",
                "BUS",
                "CHLD",
                "CLD",
                "CONT",
                "FPE",
                "HUP",
                "ILL",
                "INT",
                "IO",
                "IOT",
                "KILL",
                "PIPE",
                "POLL",
                "PROF",
                "PWR",
                "QUIT",
                "SEGV",
                "STKFLT",
                "STOP",
                "SYS",
                "TERM",
                "TRAP",
                "TSTP",
                "TTIN",
                "TTOU",
                "URG",
                "USR1",
                "USR2",
                "VTALRM",
                "WINCH",
                "XCPU",
                "XFSZ",
                "RTMIN",
                "RTMAX",
            )
        ),
        *(f"SIGRTMIN+{n}" for n in range(1, 16)),
        *(f"SIGRTMAX-{n}" for n in range(1, 15)),
    )
)


def _stop_signal(lifecycle: v1.Lifecycle | None, spec: v1.PodSpec, at: str) -> list[FieldError]:
    signal = lifecycle.stop_signal if lifecycle is not None else None
    if signal is None:
        return []
    if spec.os is None:
        return [
            errors.forbidden_field(at, "may not be set for containers with empty `spec.os.name`")
        ]
    return one_of(signal, ("SIGKILL", "SIGTERM") if spec.os.name == "windows" else _SIGNALS, at)


def _of_the_pod(c: v1.Container, spec: v1.PodSpec, at: str) -> list[FieldError]:
    """What a container refers to in the rest of its pod, and what that must be like."""
    found: list[FieldError] = []
    if c.volume_devices:
        found += _volume_devices(c, spec, f"{at}.volumeDevices")
    if c.resources.claims:
        found += claim_names(c.resources.claims, spec, f"{at}.resources.claims")
    if c.resize_policy:
        found += _resize(c.resize_policy, spec, f"{at}.resizePolicy")
    grace = spec.termination_grace_period_seconds
    for name, hook in (
        ()
        if c.lifecycle is None
        else (("postStart", c.lifecycle.post_start), ("preStop", c.lifecycle.pre_stop))
    ):
        if (
            hook is not None
            and hook.sleep is not None
            and grace is not None
            and not 0 <= hook.sleep.seconds <= grace
        ):
            why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            found.append(
                errors.invalid_value(f"{at}.lifecycle.{name}.sleep", hook.sleep.seconds, why)
            )
    return found


def _volume_devices(c: v1.Container, spec: v1.PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    volumes = {volume.name: volume for volume in spec.volumes}
    mounted = {mount.name for mount in c.volume_mounts}
    places = {mount.mount_path for mount in c.volume_mounts}
    seen: set[str] = set()
    for index, device in enumerate(c.volume_devices):
        at = f"{path}[{index}]"
        if not device.name:
            found.append(errors.required(f"{at}.name"))
        elif device.name in seen:
            found.append(errors.invalid_value(f"{at}.name", device.name, "must be unique"))
        elif device.name in mounted:
            why = "must not already exist in volumeMounts"
            found.append(errors.invalid_value(f"{at}.name", device.name, why))
        elif (volume := volumes.get(device.name)) is None:
            found.append(errors.field_not_found(f"{at}.name", device.name))
        elif volume.persistent_volume_claim is None and volume.ephemeral is None:
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            found.append(errors.invalid_value(f"{at}.name", device.name, why))
        seen.add(device.name)
        found += checks.given(device.device_path, f"{at}.devicePath")
        if ".." in device.device_path.split("/"):
            found.append(
                errors.invalid_value(
                    f"{at}.devicePath", device.device_path, "can not contain backsteps ('..')"
                )
            )
        elif device.device_path in places:
            why = "must not already exist as a path in volumeMounts"
            found.append(errors.invalid_value(f"{at}.devicePath", device.device_path, why))
    return found


def _resize(
    policies: list[v1.ContainerResizePolicy], spec: v1.PodSpec, at: str
) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        if policy.resource_name in seen:
            found.append(errors.duplicate(f"{at}[{index}]", policy.resource_name))
        seen.add(policy.resource_name)
        found += checks.given(policy.resource_name, at) + one_of(
            policy.resource_name, ("cpu", "memory"), at
        )
        found += checks.given(policy.restart_policy, at)
        found += one_of(policy.restart_policy, ("NotRequired", "RestartContainer"), at)
        if spec.restart_policy == "Never" and policy.restart_policy == "RestartContainer":
            why = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            found.append(errors.invalid_value(at, policy.restart_policy, why))
    return found


_MOST_RESTART_RULES, _MOST_EXIT_CODES = 20, 255


def _restart(c: Any, at: str) -> list[FieldError]:
    """When a container starts anew, whatever its pod says."""
    found = one_of(c.restart_policy, ("Always", "Never", "OnFailure"), f"{at}.restartPolicy")
    if c.restart_policy_rules and c.restart_policy is None:
        found.append(
            errors.required(
                f"{at}.restartPolicy", "must specify restartPolicy when restart rules are used"
            )
        )
    if len(c.restart_policy_rules) > _MOST_RESTART_RULES:
        found.append(
            errors.too_many(
                f"{at}.restartPolicyRules", len(c.restart_policy_rules), _MOST_RESTART_RULES
            )
        )
    for index, rule in enumerate(c.restart_policy_rules):
        where = f"{at}.restartPolicyRules[{index}]"
        if rule.action not in ("Restart", "RestartAllContainers"):
            found.append(
                errors.not_supported(
                    f"{where}.action", rule.action, ("Restart", "RestartAllContainers")
                )
            )
        if (codes := rule.exit_codes) is None:
            found.append(errors.required(f"{where}.exitCodes", "must be specified"))
            continue
        if codes.operator not in ("In", "NotIn"):
            found.append(
                errors.not_supported(f"{where}.exitCodes.operator", codes.operator, ("In", "NotIn"))
            )
        if not codes.values:
            found.append(
                errors.required(f"{where}.exitCodes.values", "must specify at least one value")
            )
        elif len(codes.values) > _MOST_EXIT_CODES:
            found.append(
                errors.too_many(f"{where}.exitCodes.values", len(codes.values), _MOST_EXIT_CODES)
            )
        for number, code in enumerate(codes.values):
            if not 0 <= code <= 255:
                why = "must be between 0 and 255, inclusive"
                found.append(errors.invalid_value(f"{where}.exitCodes.values[{number}]", code, why))
    return found


def _host_ports(spec: v1.PodSpec, path: str, found: list[FieldError]) -> None:
    for at, container in enumerate(spec.containers):
        for index, port in enumerate(container.ports):
            if (
                port.host_port and port.host_port != port.container_port
            ):  # of a template it may be left to the pods
                why = "must match `containerPort` when `hostNetwork` is true"
                found.append(
                    errors.invalid_value(
                        f"{path}.containers[{at}].ports[{index}].hostPort", port.host_port, why
                    )
                )


def _container(
    c: Any, at: str, volumes: set[str], seen: set[str], found: list[FieldError], init: bool
) -> None:
    if not c.name:
        found.append(errors.required(f"{at}.name"))
    elif problems := dns_label_errors(c.name):
        found += [errors.invalid_value(f"{at}.name", c.name, problem) for problem in problems]
    elif c.name in seen:
        found.append(errors.duplicate(f"{at}.name", c.name))
    seen.add(c.name)
    if not c.image:
        found.append(errors.required(f"{at}.image"))
    elif c.image != c.image.strip():
        found.append(
            errors.invalid_value(
                f"{at}.image", c.image, "must not have leading or trailing whitespace"
            )
        )
    if c.image_pull_policy not in _PULL:
        found.append(errors.not_supported(f"{at}.imagePullPolicy", c.image_pull_policy, _PULL))
    if c.termination_message_policy not in ("File", "FallbackToLogsOnError"):
        allowed = ("File", "FallbackToLogsOnError")
        found.append(
            errors.not_supported(
                f"{at}.terminationMessagePolicy", c.termination_message_policy, allowed
            )
        )
    _ports(c.ports, f"{at}.ports", found)
    _environment(c, at, found)
    privileged = bool(c.security_context is not None and c.security_context.privileged)
    _mounts(c.volume_mounts, c.volume_devices, f"{at}.volumeMounts", volumes, found, privileged)
    _resources(c.resources, f"{at}.resources", found)
    if c.security_context is not None:
        found += validate_security(c.security_context, f"{at}.securityContext")
    if c.restart_policy is not None or c.restart_policy_rules:
        found += _restart(c, at)
    if init and c.restart_policy is None:
        for name, part in (
            ("lifecycle", c.lifecycle),
            ("livenessProbe", c.liveness_probe),
            ("readinessProbe", c.readiness_probe),
            ("startupProbe", c.startup_probe),
        ):
            if part is not None:
                found.append(
                    errors.forbidden_field(
                        f"{at}.{name}",
                        "may not be set for init containers without restartPolicy=Always",
                    )
                )
    for name, probe in (
        ("livenessProbe", c.liveness_probe),
        ("readinessProbe", c.readiness_probe),
        ("startupProbe", c.startup_probe),
    ):
        if probe is not None:
            _probe(probe, f"{at}.{name}", found)
            grace = probe.termination_grace_period_seconds
            if grace is not None and (name == "readinessProbe" or grace <= 0):
                why = (
                    "must not be set for readinessProbes"
                    if name == "readinessProbe"
                    else "must be greater than 0"
                )
                found.append(
                    errors.invalid_value(f"{at}.{name}.terminationGracePeriodSeconds", grace, why)
                )
            if name != "readinessProbe" and probe.success_threshold != 1:
                found.append(
                    errors.invalid_value(
                        f"{at}.{name}.successThreshold", probe.success_threshold, "must be 1"
                    )
                )
    if c.lifecycle is not None:
        for name, hook in (
            ("postStart", c.lifecycle.post_start),
            ("preStop", c.lifecycle.pre_stop),
        ):
            if hook is not None:
                _handler(
                    hook,
                    f"{at}.lifecycle.{name}",
                    found,
                    ("exec", "http_get", "tcp_socket", "sleep"),
                )


def _ports(ports: list[v1.ContainerPort], path: str, found: list[FieldError]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        if port.name:
            found += [
                errors.invalid_value(f"{at}.name", port.name, problem)
                for problem in port_name_errors(port.name)
            ]
            if port.name in names:
                found.append(errors.duplicate(f"{at}.name", port.name))
            names.add(port.name)
        if not port.container_port:
            found.append(errors.required(f"{at}.containerPort"))
        elif not 0 < port.container_port < 65536:
            found.append(
                errors.invalid_value(f"{at}.containerPort", port.container_port, PORT_RANGE)
            )
        if port.host_port and not 0 < port.host_port < 65536:
            found.append(errors.invalid_value(f"{at}.hostPort", port.host_port, PORT_RANGE))
        if port.protocol not in _PROTOCOLS:
            found.append(errors.not_supported(f"{at}.protocol", port.protocol, _PROTOCOLS))


def _environment(c: Any, at: str, found: list[FieldError]) -> None:
    for index, variable in enumerate(c.env):
        if not variable.name:
            found.append(errors.required(f"{at}.env[{index}].name"))
        elif "=" in variable.name:
            found.append(
                errors.invalid_value(
                    f"{at}.env[{index}].name",
                    variable.name,
                    "a valid environment variable name must consist only of printable ASCII characters other than '='",
                )
            )
        if variable.value_from is not None:
            source = variable.value_from
            given = [
                s
                for s in (
                    source.field_ref,
                    source.resource_field_ref,
                    source.config_map_key_ref,
                    source.secret_key_ref,
                    source.file_key_ref,
                )
                if s is not None
            ]
            if not given:
                found.append(
                    errors.invalid_value(
                        f"{at}.env[{index}].valueFrom",
                        "",
                        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
                    )
                )
            elif variable.value:
                found.append(
                    errors.invalid_value(
                        f"{at}.env[{index}].valueFrom",
                        "",
                        "may not be specified when `value` is not empty",
                    )
                )
            elif len(given) > 1:
                found.append(
                    errors.invalid_value(
                        f"{at}.env[{index}].valueFrom",
                        "",
                        "may not have more than one field specified at a time",
                    )
                )
            found += _value_source(source, f"{at}.env[{index}].valueFrom")
    for index, source in enumerate(c.env_from):
        where = f"{at}.envFrom[{index}]"
        if source.config_map_ref is None and source.secret_ref is None:
            found.append(
                errors.invalid_value(
                    f"{at}.envFrom", "", "must specify one of: `configMapRef` or `secretRef`"
                )
            )
        for name, ref in (
            ("configMapRef", source.config_map_ref),
            ("secretRef", source.secret_ref),
        ):
            if ref is not None:
                found += checks.given(ref.name, f"{where}.{name}.name") + checks.subdomain(
                    ref.name, f"{where}.{name}.name"
                )


_FIELDS = frozenset(
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
_AMOUNTS = frozenset(
    f"{kind}.{name}"
    for kind in ("limits", "requests")
    for name in ("cpu", "memory", "ephemeral-storage")
)


def _value_source(source: v1.EnvVarSource, at: str) -> list[FieldError]:
    found: list[FieldError] = []
    if (ref := source.field_ref) is not None:
        subscripted = ref.field_path.startswith(("metadata.labels['", "metadata.annotations['"))
        if not ref.field_path:
            found.append(errors.required(f"{at}.fieldRef.fieldPath"))
        elif ref.field_path not in _FIELDS and not subscripted:
            why = f"error converting fieldPath: field label not supported: {ref.field_path}"
            found.append(errors.invalid_value(f"{at}.fieldRef.fieldPath", ref.field_path, why))
    if (amount := source.resource_field_ref) is not None:
        huge = amount.resource.startswith(("limits.hugepages-", "requests.hugepages-"))
        if not huge:
            found += checks.given(amount.resource, f"{at}.resourceFieldRef.resource")
            found += one_of(amount.resource, _AMOUNTS, f"{at}.resourceFieldRef.resource")
    for name, key in (
        ("configMapKeyRef", source.config_map_key_ref),
        ("secretKeyRef", source.secret_key_ref),
    ):
        if key is not None:
            found += checks.given(key.name, f"{at}.{name}.name") + checks.given(
                key.key, f"{at}.{name}.key"
            )
    return found


def _mounts(
    mounts: list[v1.VolumeMount],
    devices: list[v1.VolumeDevice],
    path: str,
    volumes: set[str],
    found: list[FieldError],
    privileged: bool,
) -> None:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        at = f"{path}[{index}]"
        if not mount.name:
            found.append(errors.required(f"{at}.name"))
        elif mount.name not in volumes:
            found.append(errors.field_not_found(f"{at}.name", mount.name))
        if not mount.mount_path:
            found.append(errors.required(f"{at}.mountPath"))
        elif mount.mount_path in seen:
            found.append(
                errors.invalid_value(f"{at}.mountPath", mount.mount_path, "must be unique")
            )
        seen.add(mount.mount_path)
        if any(device.name == mount.name for device in devices):
            found.append(
                errors.invalid_value(
                    f"{at}.name", mount.name, "must not already exist in volumeDevices"
                )
            )
        if any(device.device_path == mount.mount_path for device in devices):
            why = "must not already exist as a path in volumeDevices"
            found.append(errors.invalid_value(f"{at}.mountPath", mount.mount_path, why))
        if mount.sub_path and mount.sub_path_expr:
            found.append(
                errors.invalid_value(
                    f"{at}.subPathExpr",
                    mount.sub_path_expr,
                    "subPathExpr and subPath are mutually exclusive",
                )
            )
        for name, value in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
            if value:
                found += checks.local_path(value, f"{path}.{name}")  # upstream tells no index
        found += one_of(
            mount.mount_propagation,
            ("Bidirectional", "HostToContainer", "None"),
            f"{path}.mountPropagation",
        )
        if mount.mount_propagation == "Bidirectional" and not privileged:
            why = "Bidirectional mount propagation is available only to privileged containers"
            found.append(errors.forbidden_field(f"{path}.mountPropagation", why))


def _resources(resources: v1.ResourceRequirements, at: str, found: list[FieldError]) -> None:
    for kind, values in (("limits", resources.limits), ("requests", resources.requests)):
        for name, value in values.items():
            if quantity.nano(value) < 0:
                found.append(
                    errors.invalid_value(
                        f"{at}.{kind}[{name}]", value, "must be greater than or equal to 0"
                    )
                )
            if name not in STANDARD and "/" not in name and not name.startswith("hugepages-"):
                for why in (
                    "must be a standard resource type or fully qualified",
                    "must be a standard resource for containers",
                ):
                    found.append(errors.invalid_value(f"{at}.{kind}[{name}]", name, why))
            elif name not in STANDARD and quantity.nano(value) % quantity.NANO:
                found.append(
                    errors.invalid_value(f"{at}.{kind}[{name}]", value, "must be an integer")
                )
    for name, value in resources.requests.items():
        limit = resources.limits.get(name)
        if name not in STANDARD:  # what cannot be shared is given whole or not at all
            if limit is None:
                found.append(
                    errors.required(
                        f"{at}.limits", "Limit must be set for non overcommitable resources"
                    )
                )
            elif quantity.nano(value) != quantity.nano(limit):
                why = f"must be equal to {name} limit of {limit}"
                found.append(errors.invalid_value(f"{at}.requests", value, why))
        elif limit is not None and quantity.nano(value) > quantity.nano(limit):
            found.append(
                errors.invalid_value(
                    f"{at}.requests",
                    value,
                    f"must be less than or equal to {name} limit of {limit}",
                )
            )


STANDARD = ("cpu", "memory", "ephemeral-storage")
_HANDLERS = ("exec", "http_get", "tcp_socket", "grpc")


def _probe(probe: v1.Probe, at: str, found: list[FieldError]) -> None:
    _handler(probe, at, found, _HANDLERS)
    for name in (
        "initial_delay_seconds",
        "timeout_seconds",
        "period_seconds",
        "success_threshold",
        "failure_threshold",
    ):
        value = getattr(probe, name)
        if value < 0:
            json_name = name.split("_")[0] + "".join(p.title() for p in name.split("_")[1:])
            found.append(
                errors.invalid_value(
                    f"{at}.{json_name}", value, "must be greater than or equal to 0"
                )
            )


def _handler(handler: Any, at: str, found: list[FieldError], kinds: tuple[str, ...]) -> None:
    given = [kind for kind in kinds if getattr(handler, kind, None) is not None]
    if not given:
        found.append(errors.required(at, "must specify a handler type"))
    for extra in given[1:]:
        found.append(
            errors.forbidden_field(
                f"{at}.{ {'http_get': 'httpGet', 'tcp_socket': 'tcpSocket'}.get(extra, extra) }",
                "may not specify more than 1 handler type",
            )
        )
    if getattr(handler, "exec", None) is not None and not handler.exec.command:
        found.append(errors.required(f"{at}.exec.command"))
    for name, action in (
        ("httpGet", getattr(handler, "http_get", None)),
        ("tcpSocket", getattr(handler, "tcp_socket", None)),
    ):
        if action is not None:
            found += checks.port(action.port, f"{at}.{name}.port")
    if (web := getattr(handler, "http_get", None)) is not None:
        found += one_of(web.scheme, ("HTTP", "HTTPS"), f"{at}.httpGet.scheme")
    if (call := getattr(handler, "grpc", None)) is not None:
        found += checks.port(call.port, f"{at}.grpc.port")
