"""Pods that are to wait in a queue, on their own or as a group, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tiphys.addons.kueue import names
from tiphys.addons.kueue.jobs.parts import Manifest, mapping
from tiphys.addons.kueue.rules.gowords import WordError, integer
from tiphys.addons.kueue.rules.topologies import of_annotations
from tiphys.machinery.fielderrors import FieldError, forbidden_field, invalid_value, required
from tiphys.machinery.names import dns_subdomain_errors

_LABELS, _ANNOTATIONS = "metadata.labels", "metadata.annotations"
_COUNT = f"{_ANNOTATIONS}[{names.POD_GROUP_COUNT}]"
_BOTH = (
    f"both the '{names.POD_GROUP_COUNT}' annotation and the '{names.POD_GROUP}' label should be set"
)
_ANY_SIZE = 2**31 - 1  # a pod does not know how many others its set has


def of_new_pod(pod: Manifest) -> list[FieldError]:
    labels, annotations = (_texts(pod, field) for field in ("labels", "annotations"))
    return [
        *_name(labels, names.QUEUE),
        *_managed(labels),
        *_group(labels, annotations),
        *of_annotations(annotations, "metadata", _ANY_SIZE),
    ]


def _texts(pod: Manifest, field: str) -> dict[str, str]:
    values = mapping(pod, "metadata", field)
    return {key: text for key, text in values.items() if isinstance(text, str)}


def _name(labels: Mapping[str, str], label: str) -> Iterator[FieldError]:
    if label in labels and (problems := dns_subdomain_errors(labels[label])):
        yield invalid_value(f"{_LABELS}[{label}]", labels[label], ",".join(problems))


def _managed(labels: Mapping[str, str]) -> Iterator[FieldError]:
    if labels.get(names.MANAGED, "true") != "true":
        path = f"{_LABELS}[{names.MANAGED}]"
        yield forbidden_field(path, "managed label value can only be 'true'")


def _group(labels: Mapping[str, str], annotations: Mapping[str, str]) -> Iterator[FieldError]:
    """A group has a name and a size, or there is none."""
    name = labels.get(names.POD_GROUP)
    count = annotations.get(names.POD_GROUP_COUNT)
    if not name:
        if count is not None:
            yield required(f"{_LABELS}[{names.POD_GROUP}]", _BOTH)
        return
    yield from _name(labels, names.POD_GROUP)
    if count is None:
        yield required(_COUNT, _BOTH)
        return
    try:
        size = integer(count)
    except WordError as error:
        yield invalid_value(_COUNT, count, str(error))
        return
    if size < 1:
        detail = (
            f"incorrect annotation value '{names.POD_GROUP_COUNT}={count}': group total count "
            "should be greater than zero"
        )
        yield invalid_value(_COUNT, count, detail)
