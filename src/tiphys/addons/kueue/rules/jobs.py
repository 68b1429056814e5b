"""Jobs that are to wait in a queue, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tiphys.addons.kueue import names
from tiphys.addons.kueue.jobs.kinds import COMPLETIONS_FOLLOW, MIN_PARALLELISM
from tiphys.addons.kueue.jobs.parts import JobKind, Manifest, Part, is_suspended, mapping, number
from tiphys.addons.kueue.rules.gowords import WordError, boolean, integer
from tiphys.addons.kueue.rules.quotas import IMMUTABLE
from tiphys.addons.kueue.rules.topologies import Grouped, of_annotations, of_groups
from tiphys.machinery.fielderrors import FieldError, forbidden_field, invalid_value
from tiphys.machinery.names import dns_subdomain_errors

_WITH_GROUPS = frozenset(("JobSet", "MPIJob", "RayCluster", "RayJob"))
"""For other kinds upstream does not check whether a group is a pair."""
_LABELS, _ANNOTATIONS = "metadata.labels", "metadata.annotations"


def of_new_job(kind: JobKind, job: Manifest) -> list[FieldError]:
    problems = [*_labels(job)]
    parts = kind.parts(mapping(job, "metadata"), mapping(job, "spec"))
    if kind.kind == "Job":
        problems += [*_least(job, parts[0]), *_completions(job)]
    return problems + _topologies(kind, parts)


def of_changed_job(
    kind: JobKind, job: Manifest, old: Manifest, has_default: Callable[[str], bool]
) -> list[FieldError]:
    """`has_default`: whether a namespace has a queue for jobs that name none."""
    is_stopped, was_stopped = (is_suspended(kind, mapping(one, "spec")) for one in (job, old))
    parts = kind.parts(mapping(job, "metadata"), mapping(job, "spec"))
    problems: list[FieldError] = []
    if kind.kind == "Job":
        problems += _labels(job)
        if text_of(job, "annotations", MIN_PARALLELISM) != text_of(
            old, "annotations", MIN_PARALLELISM
        ):
            problems += _least(job, parts[0])
        problems += _completions(job)
    problems += _same_queue(job, old, is_stopped, has_default)
    if not (is_stopped and was_stopped):
        problems += _same_label(job, old, names.MAX_SECONDS)
    problems += _priority_class(job, old, is_stopped)
    if kind.kind == "Job":
        problems += _same_size(job, old, is_stopped, was_stopped)
    return problems + _topologies(kind, parts)


def text_of(job: Manifest, field: str, key: str) -> str:
    """A label or an annotation; empty: there is none."""
    return str(mapping(job, "metadata", field).get(key) or "")


# --- what it declares ---


def _labels(job: Manifest) -> Iterator[FieldError]:
    labels = mapping(job, "metadata", "labels")
    if names.QUEUE in labels:
        queue = str(labels[names.QUEUE])
        if problems := dns_subdomain_errors(queue):
            yield invalid_value(f"{_LABELS}[{names.QUEUE}]", queue, ",".join(problems))
    if names.MAX_SECONDS in labels:
        yield from _positive(str(labels[names.MAX_SECONDS]), f"{_LABELS}[{names.MAX_SECONDS}]")


def _positive(text: str, path: str) -> Iterator[FieldError]:
    try:
        value = integer(text)
    except WordError as error:
        yield invalid_value(path, text, str(error))
        return
    if value <= 0:
        yield invalid_value(path, value, "should be greater than 0")


def _least(job: Manifest, part: Part) -> Iterator[FieldError]:
    """A job that may run with fewer pods may not run with none, nor ask for all of them."""
    annotations = _annotations_of(job)
    path = f"{_ANNOTATIONS}[{MIN_PARALLELISM}]"
    text = annotations.get(MIN_PARALLELISM)
    if text is None:
        return
    try:
        value = integer(text)
    except WordError as error:
        yield invalid_value(path, text, str(error))
        return
    if not 0 < value < part.size:
        yield invalid_value(path, value, f"should be between 0 and {part.size - 1}")


def _completions(job: Manifest) -> Iterator[FieldError]:
    """Completions follow the parallelism of indexed jobs that have as many of both."""
    text = _annotations_of(job).get(COMPLETIONS_FOLLOW)
    path = f"{_ANNOTATIONS}[{COMPLETIONS_FOLLOW}]"
    if text is None:
        return
    try:
        follows = boolean(text)
    except WordError as error:
        yield invalid_value(path, text, str(error))
        return
    spec = mapping(job, "spec")
    if follows and spec.get("completionMode") in (None, "NonIndexed"):
        yield invalid_value(path, text, "should not be enabled for NonIndexed jobs")
    if follows and number(spec.get("parallelism"), 1) != number(spec.get("completions"), 1):
        detail = f"should be equal to parallelism when {COMPLETIONS_FOLLOW} annotation is true"
        yield invalid_value("spec.completions", spec.get("completions"), detail)


def _topologies(kind: JobKind, parts: list[Part]) -> list[FieldError]:
    problems: list[FieldError] = []
    grouped: list[Grouped] = []
    for part in parts:
        annotations = _annotations_of(part.template)
        problems += of_annotations(annotations, part.path, part.size)
        grouped.append(Grouped(annotations, part.path, part.size))
    if problems or kind.kind not in _WITH_GROUPS:
        return problems
    return [*of_groups(grouped)]


def _annotations_of(obj: Any) -> Mapping[str, str]:
    annotations = mapping(obj, "metadata", "annotations")
    return {key: text for key, text in annotations.items() if isinstance(text, str)}


# --- what stays as it is ---


def _same_queue(
    job: Manifest, old: Manifest, is_stopped: bool, has_default: Callable[[str], bool]
) -> Iterator[FieldError]:
    """A job that runs stays in its queue."""
    if not is_stopped:
        yield from _same_label(job, old, names.QUEUE)
    is_, was = (text_of(one, "labels", names.QUEUE) for one in (job, old))
    if was and not is_ and has_default(str(mapping(old, "metadata").get("namespace") or "")):
        detail = "queue-name must not be empty in namespace with default queue"
        yield invalid_value(f"{_LABELS}[{names.QUEUE}]", "", detail)


def _same_label(job: Manifest, old: Manifest, label: str) -> Iterator[FieldError]:
    value = text_of(job, "labels", label)
    if value != text_of(old, "labels", label):
        yield invalid_value(f"{_LABELS}[{label}]", value, IMMUTABLE)


def _priority_class(job: Manifest, old: Manifest, is_stopped: bool) -> Iterator[FieldError]:
    path = f"{_LABELS}[{names.PRIORITY_CLASS}]"
    is_, was = (text_of(one, "labels", names.PRIORITY_CLASS) for one in (job, old))
    if is_ and not was and not is_stopped:
        detail = "WorkloadPriorityClass cannot be added to a non-suspended workload"
        yield invalid_value(path, is_, detail)
    if was and not is_:
        yield invalid_value(path, "", "WorkloadPriorityClass cannot be removed from a workload")


def _same_size(
    job: Manifest, old: Manifest, is_stopped: bool, was_stopped: bool
) -> Iterator[FieldError]:
    """How many pods a job runs with, where that was for its queue to say."""
    counts = [number(mapping(one, "spec").get("parallelism"), 1) for one in (job, old)]
    if MIN_PARALLELISM in _annotations_of(old) and not was_stopped and counts[0] != counts[1]:
        detail = "cannot change when partial admission is enabled and the job is not suspended"
        yield forbidden_field("spec.parallelism", detail)
    follow = [_annotations_of(one).get(COMPLETIONS_FOLLOW) == "true" for one in (job, old)]
    if not is_stopped and not was_stopped and follow[0] != follow[1]:
        detail = f"{IMMUTABLE} while the job is not suspended"
        yield forbidden_field(f"{_ANNOTATIONS}[{COMPLETIONS_FOLLOW}]", detail)
