"""What is done to a container while it runs: probes, hooks of its life cycle, the signal that
stops it.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.core_v1 import Container, EphemeralContainer, Lifecycle, PodSpec, Probe
from tiphys.apiserver.resources import checks
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

# Attribute → JSON name of each kind of action.
_PROBE_ACTIONS = {
    "exec": "exec",
    "http_get": "httpGet",
    "tcp_socket": "tcpSocket",
    "grpc": "grpc",
}
_HOOK_ACTIONS = {
    "exec": "exec",
    "http_get": "httpGet",
    "tcp_socket": "tcpSocket",
    "sleep": "sleep",
}
_SIGNAL_NAMES = (
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
_SIGNALS = frozenset(
    (
        *(f"SIG{name}" for name in _SIGNAL_NAMES),
        *(f"SIGRTMIN+{number}" for number in range(1, 16)),
        *(f"SIGRTMAX-{number}" for number in range(1, 15)),
    )
)
_WINDOWS_SIGNALS = ("SIGKILL", "SIGTERM")


def validate_handlers(
    container: Container | EphemeralContainer, path: str, initial: bool
) -> list[FieldError]:
    """`initial`: it is an init container."""
    if not _has_handlers(container):
        return []
    violations = []
    probes = {
        "livenessProbe": container.liveness_probe,
        "readinessProbe": container.readiness_probe,
        "startupProbe": container.startup_probe,
    }
    if initial and container.restart_policy is None:
        detail = "may not be set for init containers without restartPolicy=Always"
        for name, handler in {"lifecycle": container.lifecycle, **probes}.items():
            if handler is not None:
                violations.append(errors.forbidden_field(f"{path}.{name}", detail))
    for name, probe in probes.items():
        if probe is not None:
            violations += _probe(probe, name, f"{path}.{name}")
    if container.lifecycle is not None:
        for name, hook in _hooks(container.lifecycle).items():
            violations += _actions(hook, _HOOK_ACTIONS, f"{path}.lifecycle.{name}")
    return violations


def _has_handlers(container: Container | EphemeralContainer) -> bool:
    return (
        container.liveness_probe is not None
        or container.readiness_probe is not None
        or container.startup_probe is not None
        or container.lifecycle is not None
    )


def _hooks(lifecycle: Lifecycle) -> dict[str, Any]:
    """The hooks that there are, by JSON name."""
    hooks = {"postStart": lifecycle.post_start, "preStop": lifecycle.pre_stop}
    return {name: hook for name, hook in hooks.items() if hook is not None}


def _probe(probe: Probe, name: str, path: str) -> list[FieldError]:
    violations = _actions(probe, _PROBE_ACTIONS, path)
    violations += checks.natural(probe.initial_delay_seconds, f"{path}.initialDelaySeconds")
    violations += checks.natural(probe.timeout_seconds, f"{path}.timeoutSeconds")
    violations += checks.natural(probe.period_seconds, f"{path}.periodSeconds")
    violations += checks.natural(probe.success_threshold, f"{path}.successThreshold")
    violations += checks.natural(probe.failure_threshold, f"{path}.failureThreshold")
    grace = probe.termination_grace_period_seconds
    field = f"{path}.terminationGracePeriodSeconds"
    if name == "readinessProbe":
        if grace is not None:
            detail = "must not be set for readinessProbes"
            violations.append(errors.invalid_value(field, grace, detail))
        return violations
    if grace is not None and grace <= 0:
        violations.append(errors.invalid_value(field, grace, "must be greater than 0"))
    if probe.success_threshold != 1:
        field = f"{path}.successThreshold"
        violations.append(errors.invalid_value(field, probe.success_threshold, "must be 1"))
    return violations


def _actions(handler: Any, kinds: dict[str, str], path: str) -> list[FieldError]:
    """A probe or a hook does one thing of the `kinds`."""
    present = [kind for kind in kinds if getattr(handler, kind) is not None]
    violations = []
    if not present:
        violations.append(errors.required(path, "must specify a handler type"))
    for kind in present[1:]:
        detail = "may not specify more than 1 handler type"
        violations.append(errors.forbidden_field(f"{path}.{kinds[kind]}", detail))
    if handler.exec is not None:
        violations += checks.required(handler.exec.command, f"{path}.exec.command")
    if handler.http_get is not None:
        violations += checks.port(handler.http_get.port, f"{path}.httpGet.port")
    if handler.tcp_socket is not None:
        violations += checks.port(handler.tcp_socket.port, f"{path}.tcpSocket.port")
    if handler.http_get is not None:
        scheme = handler.http_get.scheme
        violations += checks.one_of(scheme, ("HTTP", "HTTPS"), f"{path}.httpGet.scheme")
    if "grpc" in present:
        violations += checks.port(handler.grpc.port, f"{path}.grpc.port")
    return violations


def validate_lifecycle_in_pod(lifecycle: Lifecycle, spec: PodSpec, path: str) -> list[FieldError]:
    """The parts of a container's life cycle that depend on its pod."""
    violations = _stop_signal(lifecycle.stop_signal, spec, f"{path}.stopSignal")
    grace = spec.termination_grace_period_seconds
    if grace is None:
        return violations
    for name, hook in _hooks(lifecycle).items():
        if hook.sleep is not None and not 0 <= hook.sleep.seconds <= grace:
            detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            violations.append(
                errors.invalid_value(f"{path}.{name}.sleep", hook.sleep.seconds, detail)
            )
    return violations


def _stop_signal(signal: str | None, spec: PodSpec, path: str) -> list[FieldError]:
    if signal is None:
        return []
    if spec.os is None:
        detail = "may not be set for containers with empty `spec.os.name`"
        return [errors.forbidden_field(path, detail)]
    signals = _WINDOWS_SIGNALS if spec.os.name == "windows" else _SIGNALS
    return checks.one_of(signal, signals, path)
