"""PodSecurity: a namespace's labels set the level its pods must keep, and the one they are warned
about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.admission.configuration import PodSecurityConfiguration
from tiphys.apiserver.http.request import annotate, warn
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.podsecurity import (
    LEVELS,
    MODES,
    PREFIX,
    LevelVersion,
    Policy,
    containers_of,
    policy_of,
    violations,
)
from tiphys.store.cache import Filter

_PODS = resource_of(core_v1.Pod)
_MOST_CHECKED = 3000  # existing pods of a namespace, as upstream
_PRIVILEGED = Policy()
_JUDGED = ("", "ephemeralcontainers", "resize")  # what of a pod can change its spec
_TEMPLATES = frozenset(
    (
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "jobs.batch",
        "cronjobs.batch",
        "replicationcontrollers",
        "podtemplates",
    )
)


class PodSecurity(Base):
    resources = frozenset(("pods", "namespaces", *_TEMPLATES))

    def __init__(self, registry: Callable[[], Any], config: PodSecurityConfiguration) -> None:
        self._registry = registry
        self._config = config

    async def validate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE") or a.obj is None:
            return
        name = a.resource.group_resource
        if name == "namespaces":
            if not a.subresource:
                self._namespace(a)
        elif name == "pods":
            if a.subresource in _JUDGED and not self._exempts(a) and _is_significant(a):
                self._judge(a.obj, a, enforce=True)
        elif not a.subresource and not self._exempts(a):
            template = _template(a.obj)
            if template is not None:
                pod = core_v1.Pod(metadata=template.metadata, spec=template.spec)
                self._judge(pod, a, enforce=False)

    def _exempts(self, a: Attributes) -> bool:
        exempt = "namespace" if a.namespace in self._config.namespaces else ""
        exempt = exempt or ("user" if a.user.name in self._config.usernames else "")
        if exempt:
            annotate(f"{PREFIX}exempt", exempt)
        return bool(exempt)

    def _judge(self, pod: core_v1.Pod, a: Attributes, enforce: bool) -> None:
        """Raises StatusError if the pod breaks what is enforced. Of a controller's template, only
        the pods are refused."""
        labels = self._registry().labels_of(a.namespace) or {}
        policy, problems = policy_of(labels, self._config.defaults)
        if pod.spec.runtime_class_name in self._config.runtime_classes:
            annotate(f"{PREFIX}exempt", "runtimeClass")
            return
        if problems:
            annotate(f"{PREFIX}error", f"Failed to parse policy: {_joined(problems)}")
        if enforce:
            annotate(f"{PREFIX}enforce-policy", str(policy.enforce))
        if policy == _PRIVILEGED:
            return
        broken = {
            level: _broken(pod, level) for level in {policy.enforce, policy.audit, policy.warn}
        }
        if broken[policy.audit]:
            annotate(f"{PREFIX}audit-violations", f"would violate {broken[policy.audit]}")
        if enforce and broken[policy.enforce]:
            name = a.name or a.obj.metadata.name
            raise errors.forbidden("pods", name, f"violates {broken[policy.enforce]}")
        if broken[policy.warn]:
            warn(f"would violate {broken[policy.warn]}")

    def _namespace(self, a: Attributes) -> None:
        """Invalid labels are refused, except those that were there before."""
        new, problems = policy_of(a.obj.metadata.labels, self._config.defaults)
        before = a.old.metadata.labels if a.old is not None else {}
        old, problems_before = policy_of(before, self._config.defaults)
        if problems and (a.old is None or problems != problems_before):
            raise errors.invalid("Namespace", "", a.name, list(problems))
        is_tightened = a.old is not None and _is_tightened(old.enforce, new.enforce)
        if a.name in self._config.namespaces:
            if a.old is None or is_tightened:
                self._warn_of_exemption(a.name, new, a.obj.metadata.labels)
        elif is_tightened:
            self._warn_of_existing(a.name, new.enforce)

    def _warn_of_exemption(self, name: str, policy: Policy, labels: Mapping[str, str]) -> None:
        named = [
            f"{mode}={level_version}"
            for mode in MODES
            if (level_version := getattr(policy, mode)).level != "privileged"
            and (PREFIX + mode in labels or f"{PREFIX}{mode}-version" in labels)
        ]
        if policy not in (Policy(), self._config.defaults):
            warn(
                f'namespace "{name}" is exempt from Pod Security, and the policy '
                f"({', '.join(named)}) will be ignored"
            )

    def _warn_of_existing(self, namespace: str, enforced: LevelVersion) -> None:
        """Existing pods stay; who tightens the level is warned of them, once for what many have
        in common."""
        cache = self._registry().cache(_PODS)
        entries = cache.select(Filter(f"{_PODS.prefix}{namespace}/"))
        pods: dict[str, list[str]] = {}  # by what they break
        for entry in entries[:_MOST_CHECKED]:
            pod = decode(entry.data, core_v1.Pod)
            broken = violations(pod, enforced)
            if broken and pod.spec.runtime_class_name not in self._config.runtime_classes:
                reasons = ", ".join(violation.reason for violation in broken)
                pods.setdefault(reasons, []).append(pod.metadata.name)
        if len(entries) > _MOST_CHECKED:
            warn(
                "new PodSecurity enforce level only checked against the first "
                f"{_MOST_CHECKED} of {len(entries)} existing pods"
            )
        if not pods:
            return
        warn(
            f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce '
            f'level "{enforced}"'
        )
        texts = sorted(f"{_and_others(names)}: {reasons}" for reasons, names in pods.items())
        for text in texts:
            warn(text)


def _broken(pod: core_v1.Pod, policy: LevelVersion) -> str:
    """Which standards a pod breaks and how, "" for none."""
    broken = violations(pod, policy)
    return f'PodSecurity "{policy}": {", ".join(map(str, broken))}' if broken else ""


def _is_tightened(old: LevelVersion, new: LevelVersion) -> bool:
    """Whether pods may break the new standards that kept the old ones."""
    if new.level == "privileged":
        return False
    if new.version == old.version:
        return LEVELS.index(new.level) > LEVELS.index(old.level)
    return True


def _and_others(names: list[str]) -> str:
    first = min(names)
    others = len(names) - 1
    if not others:
        return first
    return f"{first} (and {others} other {'pod' if others == 1 else 'pods'})"


def _joined(problems: Sequence[FieldError]) -> str:
    texts = [str(problem) for problem in problems]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _is_significant(a: Attributes) -> bool:
    """Whether a pod is new, or has containers or images that it had not before. What else of a
    pod can change, tolerations for example, no standard speaks of."""
    return a.old is None or not _images_of(a.obj) <= _images_of(a.old)


def _images_of(pod: core_v1.Pod) -> set[tuple[str, str]]:
    return {(container.name, container.image) for container in containers_of(pod)}


def _template(obj: Any) -> Any:
    spec = getattr(obj, "spec", None)
    if spec is None:
        return getattr(obj, "template", None)
    job = getattr(spec, "job_template", None)
    return getattr(job.spec if job is not None else spec, "template", None)
