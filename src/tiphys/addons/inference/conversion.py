"""Between the two versions: pure functions on plain objects.

v1alpha1 has nothing that v1 has not, so that its objects only change their apiVersion. What v1
alone has is kept in an annotation of the v1alpha1 form, so that a client that reads, changes and
writes an object at v1alpha1 loses nothing of it. Source of the idea: Cluster API's conversion data.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from tiphys.addons.inference import GROUP
from tiphys.addons.reviews import refusal

V1, V1ALPHA1 = f"{GROUP}/v1", f"{GROUP}/v1alpha1"
KEPT = f"{GROUP}/v1-fields"
"""The annotation: JSON of ``{"spec": ..., "status": ...}``, without what v1alpha1 shows itself."""

Plain = dict[str, Any]

_LISTS = ("cloudWatchTriggerList", "prometheusTriggerList")
_ONLY_V1: dict[str, tuple[tuple[str, ...], ...]] = {
    "InferenceEndpointConfig": (
        *(("spec", "autoScalingSpec", name) for name in _LISTS),
        ("spec", "dataCapture"),
        ("spec", "dnsConfig"),
        ("spec", "instanceTypes"),
        ("spec", "intelligentRoutingSpec"),
        ("spec", "kubernetes"),
        ("spec", "kvCacheSpec"),
        ("spec", "maxDeployTimeInSeconds"),
        ("spec", "modelSourceConfig", "huggingFaceModel"),
        ("spec", "nodeAffinity"),
        ("spec", "pdSpec"),
        ("spec", "tlsConfig", "customCertificateConfig"),
        *(
            ("spec", "worker", name)
            for name in ("args", "command", "probes", "requestLimits", "workingDir")
        ),
        ("status", "dataCaptureStatus"),
        ("status", "dnsStatus"),
    ),
    "JumpStartModel": (
        *(("spec", "autoScalingSpec", name) for name in _LISTS),
        ("spec", "dataCapture"),
        ("spec", "dnsConfig"),
        ("spec", "intelligentRoutingSpec"),
        ("spec", "kvCacheSpec"),
        ("spec", "server", "acceleratorPartitionType"),
        ("spec", "server", "validations"),
        ("spec", "tlsConfig", "customCertificateConfig"),
        ("status", "dataCaptureStatus"),
        ("status", "dnsStatus"),
    ),
    "SageMakerEndpointRegistration": (("spec", "sageMakerEndpointDataCaptureConfig"),),
}
_SHOWN_AS = "instanceType"
"""v1alpha1 requires one: it shows the first of v1's list."""
_NO_INSTANCE = "ml.any"
"""What v1alpha1 shows of an object that has neither."""
_OLD_SOURCES = ("fsx", "s3")
_NO_SOURCE = "s3"


def converted(obj: Plain, wanted: str) -> Plain:
    """`obj` in the apiVersion `wanted`. Raises Refused."""
    before = obj.get("apiVersion")
    kind = obj.get("kind")
    if kind not in _ONLY_V1:
        raise refusal(f"{kind} is no kind of {GROUP}")
    if before == wanted:
        return obj
    if (before, wanted) == (V1, V1ALPHA1):
        return _older(copy.deepcopy(obj), str(kind))
    if (before, wanted) == (V1ALPHA1, V1):
        return _newer(copy.deepcopy(obj), str(kind))
    raise refusal(f"{before} cannot be converted to {wanted}")


def _older(obj: Plain, kind: str) -> Plain:
    kept: Plain = {}
    for path in _ONLY_V1[kind]:
        value = _take(obj, path)
        if value is not None:
            _put(kept, path, value)
    if kind == "InferenceEndpointConfig" and isinstance(obj.get("spec"), dict):
        _show_older(obj["spec"], kept)
    if kept:
        annotations = obj.setdefault("metadata", {}).setdefault("annotations", {})
        annotations[KEPT] = msgspec.json.encode(kept, order="sorted").decode()
    return {**obj, "apiVersion": V1ALPHA1}


def _show_older(spec: Plain, kept: Plain) -> None:
    """What v1alpha1 requires, where v1 has it in other fields."""
    if _SHOWN_AS not in spec:
        listed = kept.get("spec", {}).get("instanceTypes") or [_NO_INSTANCE]
        spec[_SHOWN_AS] = listed[0]
        _put(kept, ("shown", _SHOWN_AS), listed[0])
    source = spec.get("modelSourceConfig") or {}
    if source.get("modelSourceType") not in (*_OLD_SOURCES, None):
        _put(kept, ("shown", "modelSourceType"), source["modelSourceType"])
        source["modelSourceType"] = _NO_SOURCE


def _newer(obj: Plain, kind: str) -> Plain:
    metadata = obj.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    kept: Plain = {}
    if KEPT in annotations:
        kept = _kept(annotations.pop(KEPT))
        if not annotations:
            del metadata["annotations"]
    if kind == "InferenceEndpointConfig" and isinstance(obj.get("spec"), dict):
        _restore(obj["spec"], kept)
    for path in _ONLY_V1[kind]:
        value = _value_at(kept, path)
        if value is not None:
            _put_into(obj, path, value)
    return {**obj, "apiVersion": V1}


def _restore(spec: Plain, kept: Plain) -> None:
    """Takes back what `_show_older` showed, unless it was changed since: then that holds,
    and what it stood for is dropped."""
    shown = kept.get("shown") or {}
    own = kept.get("spec") or {}
    if _SHOWN_AS in shown:
        if spec.get(_SHOWN_AS) == shown[_SHOWN_AS]:
            spec.pop(_SHOWN_AS, None)
        else:
            own.pop("instanceTypes", None)
            own.pop("nodeAffinity", None)
    source = spec.get("modelSourceConfig") or {}
    if "modelSourceType" in shown and source.get("modelSourceType") == _NO_SOURCE:
        source["modelSourceType"] = shown["modelSourceType"]


def _kept(text: str) -> Plain:
    """What an annotation holds; nothing for one that was written by hand."""
    try:
        fields = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _value_at(obj: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


def _take(obj: Plain, path: tuple[str, ...]) -> Any:
    parent = _value_at(obj, path[:-1])
    return parent.pop(path[-1], None) if isinstance(parent, dict) else None


def _put(obj: Plain, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        obj = obj.setdefault(name, {})
    obj[path[-1]] = value


def _put_into(obj: Plain, path: tuple[str, ...], value: Any) -> None:
    """Where the parent is still there: a part whose whole was removed goes with it."""
    parent = _value_at(obj, path[:-1])
    if isinstance(parent, dict):
        parent.setdefault(path[-1], value)
