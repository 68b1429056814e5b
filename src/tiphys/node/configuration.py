"""KubeletConfiguration: what of upstream's file a node here follows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.machinery import durations
from tiphys.machinery.quantity import ceil_units
from tiphys.node.images.access import ALLOWLISTED, PRELOADED, VerificationPolicy
from tiphys.node.managers.options import check_gate
from tiphys.node.managers.settings import FIELDS as MANAGER_FIELDS
from tiphys.node.managers.settings import Settings
from tiphys.node.resources.capacity import PODS
from tiphys.node.resources.pressure import (
    DEFAULT_THRESHOLDS,
    HOLD,
    SIGNALS,
    Threshold,
    parse_thresholds,
)
from tiphys.node.resources.swap import NO_SWAP, parse_behavior
from tiphys.node.resources.sysctls import SysctlAllowlist
from tiphys.node.resources.thresholds import parse_map, thresholds_of
from tiphys.node.shutdown.periods import Periods, parse_periods, parse_seconds, periods_of

API_VERSION = "kubelet.config.k8s.io/v1beta1"
KIND = "KubeletConfiguration"

DEFAULT_PULLS = VerificationPolicy()
_LOG_BYTES = "10Mi"
_LOG_FILES = 5
_GRACES, _RECLAIMS = "graces", "reclaims"  # of thresholds, until all fields are read
_POLICY, _ALLOWED = "policy", "allowed"  # of pulls, likewise
_TOTAL, _CRITICAL = "whole", "critical"  # seconds of a shutdown, likewise


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the text names the field."""


@dataclass(frozen=True)
class KubeletConfiguration:
    """
    eviction_hard:       below which pods are evicted, at once
    eviction_soft:       below which they are evicted after a while
    eviction_max_grace:  seconds at most that pods have which a soft threshold evicts
    eviction_transition: seconds that a condition of the node holds after its reason is over
    max_pods:            that a node takes
    log_bytes:           of a container's log before it is rotated
    log_files:           of a container, at most
    shutdown:            which pods have how long when the machine shuts down; () for none
    seccomp_default:     whether the runtime's profile of seccomp is that of pods which say none
    log_queries:         whether the node's server answers queries of the machine's logs
    pulls:               which images pods have to show credentials for
    sysctls:             that pods may set beside the safe ones
    managers:            who gets which cores and memory, and what is kept back of both
    swap_behavior:       whether containers may use swap: NoSwap or LimitedSwap
    static_pods:         folder of the manifests of static pods, or one manifest; "" for none
    """

    eviction_hard: tuple[Threshold, ...] = tuple(parse_thresholds(DEFAULT_THRESHOLDS))
    eviction_transition: float = HOLD
    max_pods: int = PODS
    log_bytes: int = ceil_units(_LOG_BYTES)
    log_files: int = _LOG_FILES
    managers: Settings = field(default_factory=Settings)
    static_pods: str = ""
    swap_behavior: str = NO_SWAP
    eviction_soft: tuple[Threshold, ...] = ()
    eviction_max_grace: int = 0
    shutdown: Periods = ()
    seccomp_default: bool = False
    log_queries: bool = False
    pulls: VerificationPolicy = DEFAULT_PULLS
    sysctls: tuple[str, ...] = ()


DEFAULT = KubeletConfiguration()


def read(document: Any) -> KubeletConfiguration:
    """Of a document of YAML. Raises ConfigurationError; also for a field that nodes here do not
    follow, for one that is not followed in silence is a trap."""
    if not isinstance(document, Mapping):
        raise ConfigurationError("it is no object")
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind != (API_VERSION, KIND):
        raise ConfigurationError(f"apiVersion and kind must be {API_VERSION} and {KIND}")
    fields: dict[str, Any] = {}
    of_managers: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("apiVersion", "kind"):
            continue
        reader = _FIELDS.get(name) or MANAGER_FIELDS.get(name)
        if reader is None:
            followed = ", ".join(sorted([*_FIELDS, *MANAGER_FIELDS]))
            raise ConfigurationError(f"{name}: nodes of Tiphys follow only {followed}")
        attribute, convert = reader
        group = fields if name in _FIELDS else of_managers
        try:
            group[attribute] = convert(value)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{name}: {error}") from None
    fields = _with_thresholds(_with_shutdown(_with_pulls(fields)))
    managers = Settings(**of_managers)
    try:
        check_gate(managers.cpu_options, managers.alpha_options)
    except ValueError as error:
        raise ConfigurationError(f"cpuManagerPolicyOptions: {error}") from None
    return KubeletConfiguration(**fields, managers=managers)


def _with_thresholds(fields: dict[str, Any]) -> dict[str, Any]:
    """Brings together what several fields say of thresholds. Raises ConfigurationError."""
    graces = fields.pop(_GRACES, {})
    reclaims = fields.pop(_RECLAIMS, ())
    hard = fields.get("eviction_hard", DEFAULT.eviction_hard)
    soft = fields.get("eviction_soft", ())
    try:
        thresholds = thresholds_of(hard, soft, graces, reclaims)
    except ValueError as error:
        raise ConfigurationError(f"evictionSoft: {error}") from None
    hard = tuple(threshold for threshold in thresholds if not threshold.is_soft)
    soft = tuple(threshold for threshold in thresholds if threshold.is_soft)
    return {**fields, "eviction_hard": hard, "eviction_soft": soft}


def _with_pulls(fields: dict[str, Any]) -> dict[str, Any]:
    """Raises ConfigurationError."""
    policy = fields.pop(_POLICY, PRELOADED)
    allowed = fields.pop(_ALLOWED, ())
    if not allowed and policy == PRELOADED:
        return fields
    if allowed and policy != ALLOWLISTED:
        raise ConfigurationError(
            "invalid configuration: can't set `preloadedImagesVerificationAllowlist` if "
            f'`imagePullCredentialsVerificationPolicy` is not "{ALLOWLISTED}"'
        )
    try:
        return {**fields, "pulls": VerificationPolicy(policy, allowed)}
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _with_shutdown(fields: dict[str, Any]) -> dict[str, Any]:
    """Raises ConfigurationError."""
    grace_period = fields.pop(_TOTAL, 0.0)
    critical = fields.pop(_CRITICAL, 0.0)
    if fields.get("shutdown") and (grace_period or critical):
        raise ConfigurationError(
            "invalid configuration: Cannot specify both shutdownGracePeriodByPodPriority and "
            "shutdownGracePeriod at the same time"
        )
    try:
        periods = periods_of(grace_period, critical)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return {**fields, "shutdown": fields.get("shutdown") or periods}


def _graces(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise ValueError("it is no map of signals to durations")
    graces = {}
    for signal, written in value.items():
        if signal not in SIGNALS:
            raise ValueError(f'unsupported eviction signal "{signal}"')
        graces[signal] = durations.seconds(str(written))
        if graces[signal] < 0:
            raise ValueError(
                f"invalid eviction grace period specified: {written}, must be a positive value"
            )
    return graces


def _whole_seconds(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"{value!r} is no number of seconds")
    return value


def _path(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no path")
    if value and not value.startswith("/"):
        raise ValueError(f"{value!r} is no absolute path")  # nodes run in folders of their own
    return value


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("it is no list of names")
    return tuple(value)


def _sysctls(value: Any) -> tuple[str, ...]:
    names = _names(value)
    SysctlAllowlist(names)
    return names


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value < 1 << 31:
        raise ValueError(f"{value!r} is no number above 0")
    return value


def _seconds(value: Any) -> float:
    seconds = durations.seconds(str(value))
    if seconds < 0:
        raise ValueError(f"{value!r} is negative")
    return seconds


def _bytes(value: Any) -> int:
    amount = ceil_units(str(value))
    if amount <= 0:
        raise ValueError(f"{value!r} is no amount above 0")
    return amount


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "evictionHard": ("eviction_hard", parse_map),
    "evictionSoft": ("eviction_soft", parse_map),
    "evictionSoftGracePeriod": (_GRACES, _graces),
    "evictionMinimumReclaim": (_RECLAIMS, parse_map),
    "evictionMaxPodGracePeriod": ("eviction_max_grace", _whole_seconds),
    "evictionPressureTransitionPeriod": ("eviction_transition", _seconds),
    "shutdownGracePeriod": (_TOTAL, parse_seconds),
    "shutdownGracePeriodCriticalPods": (_CRITICAL, parse_seconds),
    "shutdownGracePeriodByPodPriority": ("shutdown", parse_periods),
    "imagePullCredentialsVerificationPolicy": (_POLICY, str),
    "preloadedImagesVerificationAllowlist": (_ALLOWED, _names),
    "enableSystemLogQuery": ("log_queries", _yes_or_no),
    "seccompDefault": ("seccomp_default", _yes_or_no),
    "allowedUnsafeSysctls": ("sysctls", _sysctls),
    "memorySwap": ("swap_behavior", parse_behavior),
    "maxPods": ("max_pods", _count),
    "staticPodPath": ("static_pods", _path),
    "containerLogMaxSize": ("log_bytes", _bytes),
    "containerLogMaxFiles": ("log_files", _count),
}
