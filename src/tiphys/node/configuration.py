"""KubeletConfiguration: what of upstream's file a node here follows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.machinery import durations
from tiphys.machinery.quantity import ceil_units
from tiphys.node.managers.settings import FIELDS as MANAGER_FIELDS
from tiphys.node.managers.settings import Settings
from tiphys.node.resources.capacity import PODS
from tiphys.node.resources.pressure import (
    DEFAULT_THRESHOLDS,
    HOLD,
    Threshold,
    parse_thresholds,
)

API_VERSION = "kubelet.config.k8s.io/v1beta1"
KIND = "KubeletConfiguration"

_LOG_BYTES = "10Mi"
_LOG_FILES = 5


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the text names the field."""


@dataclass(frozen=True)
class KubeletConfiguration:
    """
    eviction_hard:       below which pods are evicted, at once
    eviction_transition: seconds that a condition of the node holds after its reason is over
    max_pods:            that a node takes
    log_bytes:           of a container's log, after which another file is begun
    log_files:           of a container, at most
    managers:            who gets which cores and memory, and what is kept back of both
    static_pods:         folder of the manifests of static pods, or one manifest; "" for none
    """

    eviction_hard: tuple[Threshold, ...] = tuple(parse_thresholds(DEFAULT_THRESHOLDS))
    eviction_transition: float = HOLD
    max_pods: int = PODS
    log_bytes: int = ceil_units(_LOG_BYTES)
    log_files: int = _LOG_FILES
    managers: Settings = field(default_factory=Settings)
    static_pods: str = ""


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
    return KubeletConfiguration(**fields, managers=Settings(**of_managers))


def _thresholds(value: Any) -> tuple[Threshold, ...]:
    """What the map says; of signals that it does not name there is no threshold (upstream)."""
    if not isinstance(value, Mapping):
        raise ValueError("it is no map of signals to amounts")
    text = ",".join(f"{signal}<{amount}" for signal, amount in value.items())
    return tuple(parse_thresholds(text))


def _path(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no path")
    if value and not value.startswith("/"):
        raise ValueError(f"{value!r} is no absolute path")  # nodes run in folders of their own
    return value


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


_FIELDS = {
    "evictionHard": ("eviction_hard", _thresholds),
    "evictionPressureTransitionPeriod": ("eviction_transition", _seconds),
    "maxPods": ("max_pods", _count),
    "staticPodPath": ("static_pods", _path),
    "containerLogMaxSize": ("log_bytes", _bytes),
    "containerLogMaxFiles": ("log_files", _count),
}
