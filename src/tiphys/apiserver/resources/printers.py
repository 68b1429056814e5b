"""The cells of every kind's table. COLUMNS is the list: (header, cell, type, format, priority); priority 1 is -o wide.

"AGE" stands for the age column. A kind that is not in the list shows its name and when it was made, as upstream.
"""

from __future__ import annotations

import time
from typing import Any

from tiphys.machinery import timestamps
from tiphys.machinery.selectors import from_label_selector, from_labels
from tiphys.machinery.timestamps import human_duration

INT = "integer"


def _since(text: str | None) -> str:
    return human_duration(time.time() - timestamps.parse(text)) if text else "<unknown>"


def _selector(selector: Any) -> str:
    if selector is None:
        return "<none>"
    if isinstance(selector, dict):
        return str(from_labels(selector)) or "<none>"
    return str(from_label_selector(selector)) or "<none>"


def _join(items: Any, empty: str = "<none>") -> str:
    return ",".join(str(item) for item in items) or empty


def _images(obj: Any) -> str:
    return _join(c.image for c in obj.spec.template.spec.containers)


def _containers(obj: Any) -> str:
    return _join(c.name for c in obj.spec.template.spec.containers)


def _pod_init_reason(pod: Any) -> str:
    total = len(pod.spec.init_containers)
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    for index, status in enumerate(pod.status.init_container_statuses):
        state = status.state
        if state.terminated is not None and state.terminated.exit_code == 0:
            continue
        if status.name in sidecars and status.started:
            continue
        if state.terminated is not None:
            t = state.terminated
            if t.reason:
                return f"Init:{t.reason}"
            return f"Init:Signal:{t.signal}" if t.signal else f"Init:ExitCode:{t.exit_code}"
        if (
            state.waiting is not None
            and state.waiting.reason
            and state.waiting.reason != "PodInitializing"
        ):
            return f"Init:{state.waiting.reason}"
        return f"Init:{index}/{total}"
    return ""


def _pod_reason(pod: Any) -> str:
    reason = pod.status.reason or pod.status.phase
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.reason == "SchedulingGated":
            reason = "SchedulingGated"
    initializing = _pod_init_reason(pod)
    if initializing:
        reason = initializing
    if not initializing or any(
        c.type == "Initialized" and c.status == "True" for c in pod.status.conditions
    ):
        running = False
        for status in reversed(pod.status.container_statuses):
            state = status.state
            if state.waiting is not None and state.waiting.reason:
                reason = state.waiting.reason
            elif state.terminated is not None:
                t = state.terminated
                reason = t.reason or (
                    f"Signal:{t.signal}" if t.signal else f"ExitCode:{t.exit_code}"
                )
            elif status.ready and state.running is not None:
                running = True
        if reason == "Completed" and running:
            ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
            reason = "Running" if ready else "NotReady"
    if pod.metadata.deletion_timestamp and pod.status.reason == "NodeLost":
        return "Unknown"
    if pod.metadata.deletion_timestamp and pod.status.phase not in ("Failed", "Succeeded"):
        return "Terminating"
    return str(reason)


def _pod_ready(pod: Any) -> str:
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    ready = sum(s.ready for s in pod.status.container_statuses if s.state.running is not None)
    ready += sum(s.ready for s in pod.status.init_container_statuses if s.name in sidecars)
    return f"{ready}/{len(pod.spec.containers) + len(sidecars)}"


def _pod_restarts(pod: Any) -> str:
    statuses = pod.status.container_statuses
    count = sum(s.restart_count for s in statuses)
    last = max(
        (
            timestamps.parse(s.last_state.terminated.finished_at)
            for s in statuses
            if s.last_state.terminated
        ),
        default=0.0,
    )
    return f"{count} ({human_duration(time.time() - last)} ago)" if count and last else str(count)


def _gates(pod: Any) -> str:
    wanted = [gate.condition_type for gate in pod.spec.readiness_gates]
    if not wanted:
        return "<none>"
    met = {c.type for c in pod.status.conditions if c.status == "True"}
    return f"{sum(name in met for name in wanted)}/{len(wanted)}"


def _node_status(node: Any) -> str:
    ready = next((c for c in node.status.conditions if c.type == "Ready"), None)
    parts = ["Unknown"] if ready is None else ["Ready" if ready.status == "True" else "NotReady"]
    if node.spec.unschedulable:
        parts.append("SchedulingDisabled")
    return ",".join(parts)


def _node_roles(node: Any) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = {
        key[len(prefix) :]
        for key in node.metadata.labels
        if key.startswith(prefix) and key != prefix
    }
    roles |= {
        value
        for key, value in node.metadata.labels.items()
        if key == "kubernetes.io/role" and value
    }
    return _join(sorted(roles))


def _address(node: Any, kind: str) -> str:
    return next((a.address for a in node.status.addresses if a.type == kind), "<none>")


def _service_ports(service: Any) -> str:
    return _join(
        f"{p.port}:{p.node_port}/{p.protocol}" if p.node_port else f"{p.port}/{p.protocol}"
        for p in service.spec.ports
    )


def _external(service: Any) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return str(spec.external_name)
    given = (
        [i.ip or i.hostname for i in service.status.load_balancer.ingress]
        if spec.type == "LoadBalancer"
        else []
    )
    given += spec.external_ips
    return _join(given, "<pending>" if spec.type == "LoadBalancer" else "<none>")


def _endpoints(endpoints: Any) -> str:
    found: list[str] = []
    for subset in endpoints.subsets:
        for port in subset.ports or [None]:
            found += [f"{a.ip}:{port.port}" if port else a.ip for a in subset.addresses]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return _join(found[:3]) + more


def _slice_endpoints(endpoint_slice: Any) -> str:
    found = [a for e in endpoint_slice.endpoints for a in e.addresses]
    if not found:
        return "<unset>"
    return ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")


def _slice_ports(endpoint_slice: Any) -> str:
    return (
        ",".join(str(p.port) if p.port is not None else "*" for p in endpoint_slice.ports)
        or "<unset>"
    )


def _job_status(job: Any) -> str:
    for condition in job.status.conditions:
        if condition.status == "True" and condition.type in (
            "Complete",
            "Failed",
            "Suspended",
            "FailureTarget",
            "SuccessCriteriaMet",
        ):
            if condition.type in ("Complete", "Failed"):
                return str(condition.type)
    if job.metadata.deletion_timestamp:
        return "Terminating"
    return "Suspended" if job.spec.suspend else "Running"


def _job_completions(job: Any) -> str:
    if job.spec.completions is not None:
        return f"{job.status.succeeded}/{job.spec.completions}"
    parallelism = job.spec.parallelism or 0
    return (
        f"{job.status.succeeded}/1 of {parallelism}"
        if parallelism > 1
        else f"{job.status.succeeded}/1"
    )


def _job_duration(job: Any) -> str:
    start = timestamps.parse(job.status.start_time)
    if not start:
        return ""
    end = timestamps.parse(job.status.completion_time) or time.time()
    return human_duration(end - start)


_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes(modes: list[str]) -> str:
    return ",".join(_MODES[m] for m in _MODES if m in modes)


def _claim(volume: Any) -> str:
    ref = volume.spec.claim_ref
    return f"{ref.namespace}/{ref.name}" if ref else ""


def _source(event: Any) -> str:
    source = event.source.component or event.reporting_component
    return f"{source}, {event.source.host}" if event.source.host else source


def _involved(event: Any) -> str:
    ref = getattr(event, "involved_object", None) or event.regarding
    return f"{ref.kind.lower()}/{ref.name}" if ref.name else str(ref.kind.lower())


def _seen(event: Any, *names: str) -> str:
    for name in names:
        if getattr(event, name, None):
            return _since(getattr(event, name))
    series = event.series
    if series is not None and "last_timestamp" in names:
        return _since(series.last_observed_time)
    return _since(event.event_time)


def _count(event: Any) -> int:
    return (event.series.count if event.series else 0) or getattr(event, "count", 0) or 1


def _subjects(binding: Any, kind: str) -> str:
    return ", ".join(
        f"{s.namespace}/{s.name}" if kind == "ServiceAccount" else s.name
        for s in binding.subjects
        if s.kind == kind
    )


def _hosts(ingress: Any) -> str:
    hosts = [rule.host for rule in ingress.spec.rules if rule.host]
    if not hosts:
        return "*"
    return ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")


def _csr_condition(csr: Any) -> str:
    types = {c.type for c in csr.status.conditions}
    parts = [name for name in ("Approved", "Denied", "Failed") if name in types]
    text = ",".join(parts) or "Pending"
    return text + (",Issued" if csr.status.certificate else "")


def _cpu(hpa: Any) -> str:
    """What an autoscaler of autoscaling/v1 goes by."""
    wanted, seen = (
        hpa.spec.target_cpu_utilization_percentage,
        hpa.status.current_cpu_utilization_percentage,
    )
    shown = f"{seen}%" if seen is not None else "<unknown>"
    return f"cpu: {shown}/{wanted}%" if wanted is not None else "<none>"


def _metrics(autoscaler: Any) -> str:
    found = []
    current = {
        m.resource.name: m.resource.current
        for m in autoscaler.status.current_metrics or []
        if m.resource
    }
    for metric in autoscaler.spec.metrics:
        if metric.resource is None:
            found.append("<unknown>/" + metric.type)
            continue
        now, target = current.get(metric.resource.name), metric.resource.target
        if target.average_utilization is not None:
            seen = (
                f"{now.average_utilization}%"
                if now and now.average_utilization is not None
                else "<unknown>"
            )
            found.append(f"{metric.resource.name}: {seen}/{target.average_utilization}%")
        else:
            found.append(
                f"{metric.resource.name}: {now.average_value if now else '<unknown>'}/{target.average_value}"
            )
    return ", ".join(found) or "<none>"


def _condition(obj: Any, name: str) -> str:
    return next(
        (
            c.status if c.status == "True" else f"{c.status} ({c.reason})"
            for c in obj.status.conditions
            if c.type == name
        ),
        "Unknown",
    )


def _quota(used: dict[str, str], hard: dict[str, str], limits: bool) -> str:
    names = sorted(name for name in hard if name.startswith("limits.") == limits)
    return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)


_TEMPLATE_WIDE: list[Any] = [
    ("Containers", _containers, "string", "", 1),
    ("Images", _images, "string", "", 1),
]

COLUMNS: dict[str, list[Any]] = {
    "Scale": [
        ("Desired", lambda s: s.spec.replicas, "integer"),
        ("Available", lambda s: s.status.replicas, "integer"),
        "AGE",
    ],
    "Pod": [
        ("Ready", _pod_ready),
        ("Status", _pod_reason),
        ("Restarts", _pod_restarts),
        "AGE",
        (
            "IP",
            lambda p: p.status.pod_ips[0].ip if p.status.pod_ips else p.status.pod_ip or "<none>",
            "string",
            "",
            1,
        ),
        ("Node", lambda p: p.spec.node_name or "<none>", "string", "", 1),
        ("Nominated Node", lambda p: p.status.nominated_node_name or "<none>", "string", "", 1),
        ("Readiness Gates", _gates, "string", "", 1),
    ],
    "PodTemplate": [
        ("Containers", lambda t: _join(c.name for c in t.template.spec.containers)),
        ("Images", lambda t: _join(c.image for c in t.template.spec.containers)),
        ("Pod Labels", lambda t: _selector(t.template.metadata.labels)),
    ],
    "ReplicationController": [
        ("Desired", lambda o: o.spec.replicas, INT),
        ("Current", lambda o: o.status.replicas, INT),
        ("Ready", lambda o: o.status.ready_replicas, INT),
        "AGE",
        *_TEMPLATE_WIDE,
        ("Selector", lambda o: _selector(o.spec.selector), "string", "", 1),
    ],
    "ReplicaSet": [
        ("Desired", lambda o: o.spec.replicas, INT),
        ("Current", lambda o: o.status.replicas, INT),
        ("Ready", lambda o: o.status.ready_replicas, INT),
        "AGE",
        *_TEMPLATE_WIDE,
        ("Selector", lambda o: _selector(o.spec.selector), "string", "", 1),
    ],
    "Deployment": [
        ("Ready", lambda o: f"{o.status.ready_replicas}/{o.spec.replicas}"),
        ("Up-to-date", lambda o: o.status.updated_replicas),
        ("Available", lambda o: o.status.available_replicas),
        "AGE",
        *_TEMPLATE_WIDE,
        ("Selector", lambda o: _selector(o.spec.selector), "string", "", 1),
    ],
    "StatefulSet": [
        ("Ready", lambda o: f"{o.status.ready_replicas}/{o.spec.replicas}"),
        "AGE",
        *_TEMPLATE_WIDE,
    ],
    "DaemonSet": [
        ("Desired", lambda o: o.status.desired_number_scheduled, INT),
        ("Current", lambda o: o.status.current_number_scheduled, INT),
        ("Ready", lambda o: o.status.number_ready, INT),
        ("Up-to-date", lambda o: o.status.updated_number_scheduled, INT),
        ("Available", lambda o: o.status.number_available, INT),
        ("Node Selector", lambda o: _selector(o.spec.template.spec.node_selector)),
        "AGE",
        *_TEMPLATE_WIDE,
        ("Selector", lambda o: _selector(o.spec.selector), "string", "", 1),
    ],
    "Job": [
        ("Status", _job_status),
        ("Completions", _job_completions),
        ("Duration", _job_duration),
        "AGE",
        *_TEMPLATE_WIDE,
        ("Selector", lambda o: _selector(o.spec.selector), "string", "", 1),
    ],
    "CronJob": [
        ("Schedule", lambda o: o.spec.schedule),
        ("Timezone", lambda o: o.spec.time_zone or "<none>"),
        ("Suspend", lambda o: "True" if o.spec.suspend else "False"),
        ("Active", lambda o: len(o.status.active), INT),
        (
            "Last Schedule",
            lambda o: (
                _since(o.status.last_schedule_time) if o.status.last_schedule_time else "<none>"
            ),
        ),
        "AGE",
        (
            "Containers",
            lambda o: _join(c.name for c in o.spec.job_template.spec.template.spec.containers),
            "string",
            "",
            1,
        ),
        (
            "Images",
            lambda o: _join(c.image for c in o.spec.job_template.spec.template.spec.containers),
            "string",
            "",
            1,
        ),
        ("Selector", lambda o: _selector(o.spec.job_template.spec.selector), "string", "", 1),
    ],
    "Service": [
        ("Type", lambda o: o.spec.type),
        ("Cluster-IP", lambda o: o.spec.cluster_ip or "<none>"),
        ("External-IP", _external),
        ("Port(s)", _service_ports),
        "AGE",
        ("Selector", lambda o: _selector(o.spec.selector), "string", "", 1),
    ],
    "Endpoints": [("Endpoints", _endpoints), "AGE"],
    "EndpointSlice": [
        ("AddressType", lambda o: o.address_type),
        ("Ports", _slice_ports),
        ("Endpoints", _slice_endpoints),
        "AGE",
    ],
    "Ingress": [
        ("Class", lambda o: o.spec.ingress_class_name or "<none>"),
        ("Hosts", _hosts),
        ("Address", lambda o: ",".join(i.ip or i.hostname for i in o.status.load_balancer.ingress)),
        ("Ports", lambda o: "80, 443" if o.spec.tls else "80"),
        "AGE",
    ],
    "IngressClass": [
        ("Controller", lambda o: o.spec.controller),
        (
            "Parameters",
            lambda o: (
                f"{o.spec.parameters.kind}/{o.spec.parameters.name}"
                if o.spec.parameters
                else "<none>"
            ),
        ),
        "AGE",
    ],
    "NetworkPolicy": [("Pod-Selector", lambda o: _selector(o.spec.pod_selector)), "AGE"],
    "ServiceCIDR": [("CIDRs", lambda o: ",".join(o.spec.cidrs)), "AGE"],
    "IPAddress": [
        (
            "ParentRef",
            lambda o: (
                "/".join(
                    p
                    for p in (
                        o.spec.parent_ref.group,
                        o.spec.parent_ref.resource,
                        o.spec.parent_ref.namespace,
                        o.spec.parent_ref.name,
                    )
                    if p
                )
                if o.spec.parent_ref
                else ""
            ),
        ),
        "AGE",
    ],
    "Namespace": [("Status", lambda o: o.status.phase), "AGE"],
    "Node": [
        ("Status", _node_status),
        ("Roles", _node_roles),
        "AGE",
        ("Version", lambda o: o.status.node_info.kubelet_version),
        ("Internal-IP", lambda o: _address(o, "InternalIP"), "string", "", 1),
        ("External-IP", lambda o: _address(o, "ExternalIP"), "string", "", 1),
        ("OS-Image", lambda o: o.status.node_info.os_image or "<unknown>", "string", "", 1),
        (
            "Kernel-Version",
            lambda o: o.status.node_info.kernel_version or "<unknown>",
            "string",
            "",
            1,
        ),
        (
            "Container-Runtime",
            lambda o: o.status.node_info.container_runtime_version or "<unknown>",
            "string",
            "",
            1,
        ),
    ],
    "Secret": [("Type", lambda o: o.type), ("Data", lambda o: len(o.data)), "AGE"],
    "ConfigMap": [("Data", lambda o: len(o.data) + len(o.binary_data)), "AGE"],
    "ServiceAccount": [("Secrets", lambda o: len(o.secrets)), "AGE"],
    "ResourceQuota": [
        ("Request", lambda o: _quota(o.status.used, o.status.hard or o.spec.hard, False)),
        ("Limit", lambda o: _quota(o.status.used, o.status.hard or o.spec.hard, True)),
        "AGE",
    ],
    "LimitRange": [("Created At", lambda o: o.metadata.creation_timestamp, "date")],
    "PersistentVolume": [
        ("Capacity", lambda o: o.spec.capacity.get("storage", "")),
        ("Access Modes", lambda o: _modes(o.spec.access_modes)),
        ("Reclaim Policy", lambda o: o.spec.persistent_volume_reclaim_policy),
        ("Status", lambda o: "Terminating" if o.metadata.deletion_timestamp else o.status.phase),
        ("Claim", _claim),
        ("StorageClass", lambda o: o.spec.storage_class_name),
        ("VolumeAttributesClass", lambda o: o.spec.volume_attributes_class_name or "<unset>"),
        ("Reason", lambda o: o.status.reason),
        "AGE",
        ("VolumeMode", lambda o: o.spec.volume_mode, "string", "", 1),
    ],
    "PersistentVolumeClaim": [
        ("Status", lambda o: "Terminating" if o.metadata.deletion_timestamp else o.status.phase),
        ("Volume", lambda o: o.spec.volume_name),
        ("Capacity", lambda o: o.status.capacity.get("storage", "")),
        ("Access Modes", lambda o: _modes(o.status.access_modes)),
        ("StorageClass", lambda o: o.spec.storage_class_name or ""),
        ("VolumeAttributesClass", lambda o: o.spec.volume_attributes_class_name or "<unset>"),
        "AGE",
        ("VolumeMode", lambda o: o.spec.volume_mode, "string", "", 1),
    ],
    "StorageClass": [
        ("Provisioner", lambda o: o.provisioner),
        ("ReclaimPolicy", lambda o: o.reclaim_policy),
        ("VolumeBindingMode", lambda o: o.volume_binding_mode),
        ("AllowVolumeExpansion", lambda o: bool(o.allow_volume_expansion)),
        "AGE",
    ],
    "VolumeAttachment": [
        ("Attacher", lambda o: o.spec.attacher, "string", "name"),
        ("PV", lambda o: o.spec.source.persistent_volume_name or ""),
        ("Node", lambda o: o.spec.node_name),
        ("Attached", lambda o: bool(o.status.attached), "boolean"),
        "AGE",
    ],
    "CSIDriver": [
        ("AttachRequired", lambda o: bool(o.spec.attach_required), "boolean"),
        ("PodInfoOnMount", lambda o: bool(o.spec.pod_info_on_mount), "boolean"),
        ("StorageCapacity", lambda o: bool(o.spec.storage_capacity), "boolean"),
        ("TokenRequests", lambda o: _join((t.audience for t in o.spec.token_requests), "<unset>")),
        ("RequiresRepublish", lambda o: bool(o.spec.requires_republish), "boolean"),
        ("Modes", lambda o: _join(o.spec.volume_lifecycle_modes)),
        "AGE",
    ],
    "CSINode": [("Drivers", lambda o: len(o.spec.drivers), INT), "AGE"],
    "CSIStorageCapacity": [
        ("StorageClassName", lambda o: o.storage_class_name),
        ("Capacity", lambda o: o.capacity or ""),
    ],
    "VolumeAttributesClass": [("DriverName", lambda o: o.driver_name), "AGE"],
    "Event": [
        ("Last Seen", lambda o: _seen(o, "last_timestamp", "deprecated_last_timestamp")),
        ("Type", lambda o: o.type),
        ("Reason", lambda o: o.reason),
        ("Object", _involved),
        (
            "Subobject",
            lambda o: (getattr(o, "involved_object", None) or o.regarding).field_path,
            "string",
            "",
            1,
        ),
        (
            "Source",
            lambda o: _source(o) if hasattr(o, "source") else o.reporting_controller,
            "string",
            "",
            1,
        ),
        ("Message", lambda o: str(getattr(o, "message", None) or getattr(o, "note", "")).strip()),
        (
            "First Seen",
            lambda o: _seen(o, "first_timestamp", "deprecated_first_timestamp"),
            "string",
            "",
            1,
        ),
        ("Count", _count, "string", "", 1),
        ("Name", lambda o: o.metadata.name, "string", "name", 1),
    ],
    "Role": [("Created At", lambda o: o.metadata.creation_timestamp, "date")],
    "ClusterRole": [("Created At", lambda o: o.metadata.creation_timestamp, "date")],
    "RoleBinding": [
        ("Role", lambda o: f"{o.role_ref.kind}/{o.role_ref.name}"),
        "AGE",
        ("Users", lambda o: _subjects(o, "User"), "string", "", 1),
        ("Groups", lambda o: _subjects(o, "Group"), "string", "", 1),
        ("ServiceAccounts", lambda o: _subjects(o, "ServiceAccount"), "string", "", 1),
    ],
    "ClusterRoleBinding": [
        ("Role", lambda o: f"{o.role_ref.kind}/{o.role_ref.name}"),
        "AGE",
        ("Users", lambda o: _subjects(o, "User"), "string", "", 1),
        ("Groups", lambda o: _subjects(o, "Group"), "string", "", 1),
        ("ServiceAccounts", lambda o: _subjects(o, "ServiceAccount"), "string", "", 1),
    ],
    "Lease": [("Holder", lambda o: o.spec.holder_identity or ""), "AGE"],
    "PodDisruptionBudget": [
        (
            "Min Available",
            lambda o: str(o.spec.min_available) if o.spec.min_available is not None else "N/A",
        ),
        (
            "Max Unavailable",
            lambda o: str(o.spec.max_unavailable) if o.spec.max_unavailable is not None else "N/A",
        ),
        ("Allowed Disruptions", lambda o: o.status.disruptions_allowed, INT),
        "AGE",
    ],
    "PriorityClass": [
        ("Value", lambda o: o.value, INT),
        ("Global-Default", lambda o: o.global_default, "boolean"),
        "AGE",
        ("PreemptionPolicy", lambda o: o.preemption_policy),
    ],
    "RuntimeClass": [("Handler", lambda o: o.handler), "AGE"],
    "ControllerRevision": [
        (
            "Controller",
            lambda o: next(
                (
                    f"{r.kind.lower()}.{r.api_version.split('/')[0]}/{r.name}"
                    for r in o.metadata.owner_references
                    if r.controller
                ),
                "<none>",
            ),
        ),
        ("Revision", lambda o: o.revision),
        "AGE",
    ],
    "HorizontalPodAutoscaler": [
        ("Reference", lambda o: f"{o.spec.scale_target_ref.kind}/{o.spec.scale_target_ref.name}"),
        ("Targets", lambda o: _metrics(o) if hasattr(o.spec, "metrics") else _cpu(o)),
        (
            "MinPods",
            lambda o: str(o.spec.min_replicas) if o.spec.min_replicas is not None else "<unset>",
        ),
        ("MaxPods", lambda o: o.spec.max_replicas),
        ("Replicas", lambda o: o.status.current_replicas),
        "AGE",
    ],
    "CertificateSigningRequest": [
        "AGE",
        ("SignerName", lambda o: o.spec.signer_name),
        ("Requestor", lambda o: o.spec.username),
        (
            "RequestedDuration",
            lambda o: (
                human_duration(o.spec.expiration_seconds) if o.spec.expiration_seconds else "<none>"
            ),
        ),
        ("Condition", _csr_condition),
    ],
    "MutatingWebhookConfiguration": [("Webhooks", lambda o: len(o.webhooks), INT), "AGE"],
    "ValidatingWebhookConfiguration": [("Webhooks", lambda o: len(o.webhooks), INT), "AGE"],
    "ValidatingAdmissionPolicy": [
        ("Validations", lambda o: len(o.spec.validations), INT),
        (
            "ParamKind",
            lambda o: (
                f"{o.spec.param_kind.api_version}/{o.spec.param_kind.kind}"
                if o.spec.param_kind
                else "<unset>"
            ),
        ),
        "AGE",
    ],
    "ValidatingAdmissionPolicyBinding": [
        ("PolicyName", lambda o: o.spec.policy_name),
        ("ParamRef", lambda o: o.spec.param_ref.name if o.spec.param_ref else "<unset>"),
        "AGE",
    ],
    "FlowSchema": [
        ("PriorityLevel", lambda o: o.spec.priority_level_configuration.name),
        ("MatchingPrecedence", lambda o: o.spec.matching_precedence, INT),
        (
            "DistinguisherMethod",
            lambda o: o.spec.distinguisher_method.type if o.spec.distinguisher_method else "<none>",
        ),
        "AGE",
        (
            "MissingPL",
            lambda o: next((c.status for c in o.status.conditions if c.type == "Dangling"), "?"),
        ),
    ],
    "PriorityLevelConfiguration": [("Type", lambda o: o.spec.type), "AGE"],
    "APIService": [
        (
            "Service",
            lambda o: (
                f"{o.spec.service.namespace}/{o.spec.service.name}" if o.spec.service else "Local"
            ),
        ),
        ("Available", lambda o: _condition(o, "Available")),
        "AGE",
    ],
    "CustomResourceDefinition": [("Created At", lambda o: o.metadata.creation_timestamp, "date")],
    "ComponentStatus": [
        (
            "Status",
            lambda o: "Healthy" if any(c.status == "True" for c in o.conditions) else "Unhealthy",
        ),
        ("Message", lambda o: _join((c.message for c in o.conditions), "")),
        ("Error", lambda o: _join((c.error for c in o.conditions), "")),
    ],
    "ResourceClaim": [
        (
            "State",
            lambda o: (
                "allocated,reserved"
                if o.status.reserved_for
                else "allocated"
                if o.status.allocation
                else "pending"
            ),
        ),
        "AGE",
    ],
    "ResourceSlice": [
        ("Node", lambda o: o.spec.node_name or ""),
        ("Driver", lambda o: o.spec.driver),
        ("Pool", lambda o: o.spec.pool.name),
        "AGE",
    ],
    "DeviceClass": ["AGE"],
    "ResourceClaimTemplate": ["AGE"],
}
