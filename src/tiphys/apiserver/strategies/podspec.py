"""The rules of a pod's spec, shared by pods and every template of pods. Its defaults are in `poddefaults`."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.metadata import validate_annotations, validate_labels
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, label_key_errors, port_name_errors

_POLICIES = ("Always", "OnFailure", "Never")
_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_TOLERATIONS = ("Equal", "Exists", "Gt", "Lt")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def validate_pod_spec(spec: v1.PodSpec, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    volumes = _volumes(spec.volumes, f"{path}.volumes", found)
    if not spec.containers:
        found.append(errors.required(f"{path}.containers"))
    seen: set[str] = set()
    for kind, containers in (("containers", spec.containers), ("initContainers", spec.init_containers)):
        for index, container in enumerate(containers):
            _container(container, f"{path}.{kind}[{index}]", volumes, seen, found, init=kind == "initContainers")
    if spec.restart_policy not in _POLICIES:
        found.append(errors.not_supported(f"{path}.restartPolicy", spec.restart_policy, _POLICIES))
    if spec.dns_policy not in _DNS:
        found.append(errors.not_supported(f"{path}.dnsPolicy", spec.dns_policy, _DNS))
    grace = spec.termination_grace_period_seconds
    if grace is not None and grace < 0:
        found.append(
            errors.invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")
        )
    deadline = spec.active_deadline_seconds
    if deadline is not None and deadline < 1:
        why = "must be between 1 and 2147483647, inclusive"
        found.append(errors.invalid_value(f"{path}.activeDeadlineSeconds", deadline, why))
    for key, value in spec.node_selector.items():
        found += validate_labels({key: value}, f"{path}.nodeSelector")
    for name, value, check in (
        ("hostname", spec.hostname, dns_label_errors),
        ("subdomain", spec.subdomain, dns_label_errors),
        ("serviceAccountName", spec.service_account_name, dns_subdomain_errors),
        ("nodeName", spec.node_name, dns_subdomain_errors),
    ):
        if value:
            found += [errors.invalid_value(f"{path}.{name}", value, problem) for problem in check(value)]
    if spec.host_network:
        _host_ports(spec, path, found)
    _tolerations(spec.tolerations, f"{path}.tolerations", found)
    _affinity(spec.affinity, f"{path}.affinity", found)
    _spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints", found)
    for index, gate in enumerate(spec.scheduling_gates):
        found += [
            errors.invalid_value(f"{path}.schedulingGates[{index}]", gate.name, p) for p in label_key_errors(gate.name)
        ]
    return found


def _host_ports(spec: v1.PodSpec, path: str, found: list[FieldError]) -> None:
    for at, container in enumerate(spec.containers):
        for index, port in enumerate(container.ports):
            if port.host_port != port.container_port:
                why = "must match `containerPort` when `hostNetwork` is true"
                found.append(
                    errors.invalid_value(f"{path}.containers[{at}].ports[{index}].hostPort", port.host_port, why)
                )


def _volumes(volumes: list[v1.Volume], path: str, found: list[FieldError]) -> set[str]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        if not volume.name:
            found.append(errors.required(f"{at}.name"))
        elif problems := dns_label_errors(volume.name):
            found += [errors.invalid_value(f"{at}.name", volume.name, problem) for problem in problems]
        elif volume.name in seen:
            found.append(errors.duplicate(f"{at}.name", volume.name))
        seen.add(volume.name)
        sources = [name for name in v1.VolumeSource.__struct_fields__ if getattr(volume, name) is not None]
        if len(sources) > 1:
            found.append(errors.forbidden_field(f"{at}.{_json(sources[1])}", "may not specify more than 1 volume type"))
        _volume_source(volume, at, found)
    return seen


def _json(attribute: str) -> str:
    return dict(zip(v1.VolumeSource.__struct_fields__, v1.VolumeSource.__struct_encode_fields__, strict=True))[
        attribute
    ]


def _volume_source(volume: v1.Volume, at: str, found: list[FieldError]) -> None:
    if volume.host_path is not None and not volume.host_path.path:
        found.append(errors.required(f"{at}.hostPath.path"))
    if volume.secret is not None and not volume.secret.secret_name:
        found.append(errors.required(f"{at}.secret.secretName"))
    if volume.config_map is not None and not volume.config_map.name:
        found.append(errors.required(f"{at}.configMap.name"))
    if volume.persistent_volume_claim is not None and not volume.persistent_volume_claim.claim_name:
        found.append(errors.required(f"{at}.persistentVolumeClaim.claimName"))
    for kind, source in (("secret", volume.secret), ("configMap", volume.config_map)):
        for index, item in enumerate(getattr(source, "items", ()) or ()):
            if not item.key:
                found.append(errors.required(f"{at}.{kind}.items[{index}].key"))
            _local_path(item.path, f"{at}.{kind}.items[{index}].path", found)
    if volume.empty_dir is not None and volume.empty_dir.size_limit and quantity.nano(volume.empty_dir.size_limit) < 0:
        found.append(
            errors.forbidden_field(f"{at}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity")
        )


def _local_path(path: str, at: str, found: list[FieldError]) -> None:
    if not path:
        found.append(errors.required(at))
    elif path.startswith("/"):
        found.append(errors.invalid_value(at, path, "must be a relative path"))
    elif ".." in path.split("/"):
        found.append(errors.invalid_value(at, path, "must not contain '..'"))


def _container(c: Any, at: str, volumes: set[str], seen: set[str], found: list[FieldError], init: bool) -> None:
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
        found.append(errors.invalid_value(f"{at}.image", c.image, "must not have leading or trailing whitespace"))
    if c.image_pull_policy not in _PULL:
        found.append(errors.not_supported(f"{at}.imagePullPolicy", c.image_pull_policy, _PULL))
    if c.termination_message_policy not in ("File", "FallbackToLogsOnError"):
        allowed = ("File", "FallbackToLogsOnError")
        found.append(errors.not_supported(f"{at}.terminationMessagePolicy", c.termination_message_policy, allowed))
    _ports(c.ports, f"{at}.ports", found)
    _environment(c, at, found)
    _mounts(c.volume_mounts, f"{at}.volumeMounts", volumes, found)
    _resources(c.resources, f"{at}.resources", found)
    if init and c.restart_policy is None:
        for name, probe in (
            ("livenessProbe", c.liveness_probe),
            ("readinessProbe", c.readiness_probe),
            ("startupProbe", c.startup_probe),
        ):
            if probe is not None:
                found.append(
                    errors.forbidden_field(
                        f"{at}.{name}", "may not be set for init containers without restartPolicy=Always"
                    )
                )
    for name, probe in (
        ("livenessProbe", c.liveness_probe),
        ("readinessProbe", c.readiness_probe),
        ("startupProbe", c.startup_probe),
    ):
        if probe is not None:
            _probe(probe, f"{at}.{name}", found)
            if name != "readinessProbe" and probe.success_threshold != 1:
                found.append(
                    errors.invalid_value(f"{at}.{name}.successThreshold", probe.success_threshold, "must be 1")
                )
    if c.lifecycle is not None:
        for name, hook in (("postStart", c.lifecycle.post_start), ("preStop", c.lifecycle.pre_stop)):
            if hook is not None:
                _handler(hook, f"{at}.lifecycle.{name}", found, ("exec", "http_get", "tcp_socket", "sleep"))


def _ports(ports: list[v1.ContainerPort], path: str, found: list[FieldError]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        if port.name:
            found += [errors.invalid_value(f"{at}.name", port.name, problem) for problem in port_name_errors(port.name)]
            if port.name in names:
                found.append(errors.duplicate(f"{at}.name", port.name))
            names.add(port.name)
        if not port.container_port:
            found.append(errors.required(f"{at}.containerPort"))
        elif not 0 < port.container_port < 65536:
            found.append(errors.invalid_value(f"{at}.containerPort", port.container_port, PORT_RANGE))
        if port.host_port and not 0 < port.host_port < 65536:
            found.append(errors.invalid_value(f"{at}.hostPort", port.host_port, PORT_RANGE))
        if port.protocol not in _PROTOCOLS:
            found.append(errors.not_supported(f"{at}.protocol", port.protocol, _PROTOCOLS))


PORT_RANGE = "must be between 1 and 65535, inclusive"


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
                        f"{at}.env[{index}].valueFrom", "", "may not be specified when `value` is not empty"
                    )
                )
            elif len(given) > 1:
                found.append(
                    errors.invalid_value(
                        f"{at}.env[{index}].valueFrom", "", "may not have more than one field specified at a time"
                    )
                )


def _mounts(mounts: list[v1.VolumeMount], path: str, volumes: set[str], found: list[FieldError]) -> None:
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
            found.append(errors.invalid_value(f"{at}.mountPath", mount.mount_path, "must be unique"))
        seen.add(mount.mount_path)
        if mount.sub_path and mount.sub_path_expr:
            found.append(
                errors.invalid_value(
                    f"{at}.subPathExpr", mount.sub_path_expr, "subPathExpr and subPath are mutually exclusive"
                )
            )
        for name, value in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
            if value:
                _local_path(value, f"{at}.{name}", found)


def _resources(resources: v1.ResourceRequirements, at: str, found: list[FieldError]) -> None:
    for kind, values in (("limits", resources.limits), ("requests", resources.requests)):
        for name, value in values.items():
            if quantity.nano(value) < 0:
                found.append(errors.invalid_value(f"{at}.{kind}[{name}]", value, "must be greater than or equal to 0"))
            if name not in STANDARD and "/" not in name and not name.startswith("hugepages-"):
                found.append(
                    errors.invalid_value(f"{at}.{kind}[{name}]", name, "must be a standard resource for containers")
                )
    for name, value in resources.requests.items():
        limit = resources.limits.get(name)
        if limit is not None and quantity.nano(value) > quantity.nano(limit):
            found.append(
                errors.invalid_value(f"{at}.requests", value, f"must be less than or equal to {name} limit of {limit}")
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
            found.append(errors.invalid_value(f"{at}.{json_name}", value, "must be greater than or equal to 0"))


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
        if action is not None and isinstance(action.port, int) and not 0 < action.port < 65536:
            found.append(errors.invalid_value(f"{at}.{name}.port", action.port, PORT_RANGE))


def _tolerations(tolerations: list[v1.Toleration], path: str, found: list[FieldError]) -> None:
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        if toleration.key:
            found += [
                errors.invalid_value(f"{at}.key", toleration.key, problem)
                for problem in label_key_errors(toleration.key)
            ]
        elif toleration.operator != "Exists":
            found.append(
                errors.invalid_value(
                    f"{at}.operator",
                    toleration.operator,
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if toleration.operator and toleration.operator not in _TOLERATIONS:
            found.append(errors.not_supported(f"{at}.operator", toleration.operator, _TOLERATIONS))
        if toleration.operator == "Exists" and toleration.value:
            found.append(
                errors.invalid_value(
                    f"{at}.operator", toleration.value, "value must be empty when `operator` is 'Exists'"
                )
            )
        if toleration.effect and toleration.effect not in _EFFECTS:
            found.append(errors.not_supported(f"{at}.effect", toleration.effect, _EFFECTS))
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
            found.append(
                errors.invalid_value(
                    f"{at}.effect", toleration.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
                )
            )


def _affinity(affinity: v1.Affinity | None, path: str, found: list[FieldError]) -> None:
    if affinity is None:
        return
    if affinity.node_affinity is not None:
        required = affinity.node_affinity.required_during_scheduling_ignored_during_execution
        at = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        if required is not None:
            if not required.node_selector_terms:
                found.append(errors.required(f"{at}.nodeSelectorTerms", "must have at least one node selector term"))
            for index, term in enumerate(required.node_selector_terms):
                for number, e in enumerate(term.match_expressions):
                    validate_requirement(
                        e, f"{at}.nodeSelectorTerms[{index}].matchExpressions[{number}]", found, _NODE_OPERATORS
                    )
    for kind, name in ((affinity.pod_affinity, "podAffinity"), (affinity.pod_anti_affinity, "podAntiAffinity")):
        if kind is None:
            continue
        for index, neighbour in enumerate(kind.required_during_scheduling_ignored_during_execution):
            if not neighbour.topology_key:
                at = f"{path}.{name}.requiredDuringSchedulingIgnoredDuringExecution[{index}].topologyKey"
                found.append(errors.required(at, "can not be empty"))


_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_LABEL_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def validate_requirement(
    e: Any, at: str, found: list[FieldError], operators: tuple[str, ...] = _LABEL_OPERATORS
) -> None:
    if e.operator not in operators:
        found.append(
            errors.not_supported(f"{at}.operator", e.operator, operators)
            if operators is _NODE_OPERATORS
            else errors.invalid_value(f"{at}.operator", e.operator, "not a valid selector operator")
        )
    elif e.operator in ("In", "NotIn") and not e.values:
        found.append(errors.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif e.operator in ("Exists", "DoesNotExist") and e.values:
        found.append(
            errors.forbidden_field(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        )
    found += [errors.invalid_value(f"{at}.key", e.key, problem) for problem in label_key_errors(e.key)]


def validate_label_selector(selector: Any, at: str) -> list[FieldError]:
    found = validate_labels(selector.match_labels, f"{at}.matchLabels")
    for index, e in enumerate(selector.match_expressions):
        validate_requirement(e, f"{at}.matchExpressions[{index}]", found)
    return found


def _spread(constraints: list[v1.TopologySpreadConstraint], path: str, found: list[FieldError]) -> None:
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        if constraint.max_skew <= 0:
            found.append(errors.invalid_value(f"{at}.maxSkew", constraint.max_skew, "must be greater than zero"))
        if not constraint.topology_key:
            found.append(errors.required(f"{at}.topologyKey", "can not be empty"))
        allowed = ("DoNotSchedule", "ScheduleAnyway")
        if constraint.when_unsatisfiable not in allowed:
            found.append(errors.not_supported(f"{at}.whenUnsatisfiable", constraint.when_unsatisfiable, allowed))


def validate_template(template: v1.PodTemplateSpec, path: str) -> list[FieldError]:
    found = validate_labels(template.metadata.labels, f"{path}.labels")
    found += validate_annotations(template.metadata.annotations, f"{path}.annotations")
    return found + validate_pod_spec(template.spec, f"{path}.spec")
