"""PodSecurity: a namespace's labels say which level its pods must keep, and which they are warned
about."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.admission.configuration import MODES, PodSecurityConfiguration
from tiphys.apiserver.http.request import annotate, warn
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.podsecurity import LEVELS, violations
from tiphys.store.cache import Filter

PREFIX = "pod-security.kubernetes.io/"
_PODS = resource_of(core_v1.Pod)
_PRIVILEGED = ("privileged", "latest")  # where nothing is said
_MOST_CHECKED = 3000  # existing pods of a namespace, as upstream
_MOST_WARNINGS = 10  # about them
_VERSION = re.compile(r"latest|v1\.\d+")
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


def policy_of(labels: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Mode → (level, version). A level nobody knows counts as the strictest."""
    policy = {}
    for mode in MODES:
        level = labels.get(PREFIX + mode)
        if level is not None:
            version = labels.get(f"{PREFIX}{mode}-version", "latest")
            policy[mode] = (level if level in LEVELS else "restricted", version)
    return policy


def label_errors(labels: dict[str, str]) -> list[FieldError]:
    """What is wrong with a namespace's labels."""
    problems = []
    for mode in MODES:
        key = PREFIX + mode
        level = labels.get(key)
        if level is not None and level not in LEVELS:
            allowed = "must be one of privileged, baseline, restricted"
            problems.append(errors.invalid_value(f"metadata.labels[{key}]", level, allowed))
        key = f"{key}-version"
        version = labels.get(key)
        if version is not None and not _VERSION.fullmatch(version):
            allowed = 'must be "latest" or "v1.x"'
            problems.append(errors.invalid_value(f"metadata.labels[{key}]", version, allowed))
    return problems


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
            self._namespace(a)
            return
        if a.subresource not in ("", "ephemeralcontainers"):
            return
        config = self._config
        policy = {**config.defaults, **policy_of(self._registry().labels_of(a.namespace) or {})}
        exempt = "namespace" if a.namespace in config.namespaces else ""
        exempt = exempt or ("user" if a.user.name in config.usernames else "")
        if exempt:
            annotate(f"{PREFIX}exempt", exempt)
            return
        enforced = policy.get("enforce", _PRIVILEGED)
        if name == "pods" and (a.old is None or a.subresource or _spec_changed(a.old, a.obj)):
            annotate(f"{PREFIX}enforce-policy", ":".join(enforced))
        if not policy:
            return
        if name == "pods":
            if a.old is not None and not a.subresource and not _spec_changed(a.old, a.obj):
                return
            self._judge(policy, a.obj, a, enforce=True)
        else:
            template = _template(a.obj)
            if template is not None and (a.old is None or template != _template(a.old)):
                pod = core_v1.Pod(metadata=template.metadata, spec=template.spec)
                self._judge(policy, pod, a, enforce=False)

    def _judge(
        self, policy: dict[str, tuple[str, str]], pod: core_v1.Pod, a: Attributes, enforce: bool
    ) -> None:
        if pod.spec.runtime_class_name in self._config.runtime_classes:
            annotate(f"{PREFIX}exempt", "runtimeClass")
            return
        refusal: errors.StatusError | None = None
        for mode in MODES:
            if mode not in policy:
                continue
            level, version = policy[mode]
            broken = violations(pod, level)
            if not broken:
                continue
            rules = f'PodSecurity "{level}:{version}": {", ".join(map(str, broken))}'
            name = a.name or a.obj.metadata.name
            if mode == "enforce":
                if enforce:
                    refusal = errors.forbidden("pods", name, f"violates {rules}")
            elif mode == "warn":
                if refusal is None:
                    warn(f"would violate {rules}")
            else:
                annotate(f"{PREFIX}audit-violations", f"would violate {rules}")
        if refusal is not None:
            try:
                raise refusal
            finally:
                del refusal  # it would be in a cycle with this frame

    def _namespace(self, a: Attributes) -> None:
        problems = label_errors(a.obj.metadata.labels)
        if problems:
            raise errors.invalid("Namespace", "", a.name, problems)
        new = policy_of(a.obj.metadata.labels).get("enforce")
        if a.old is None or new is None or new == policy_of(a.old.metadata.labels).get("enforce"):
            return
        self._warn_of_existing(a.name, *new)

    def _warn_of_existing(self, namespace: str, level: str, version: str) -> None:
        """Existing pods stay; who tightens the level is warned of them."""
        cache = self._registry().cache(_PODS)
        entries = cache.select(Filter(f"{_PODS.prefix}{namespace}/"))
        violating: dict[str, str] = {}
        for entry in entries[:_MOST_CHECKED]:
            pod = decode(entry.data, core_v1.Pod)
            broken = violations(pod, level)
            if broken:
                violating[pod.metadata.name] = ", ".join(rule.reason for rule in broken)
        if violating:
            warn(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce '
                f'level "{level}:{version}"'
            )
            for name, reasons in sorted(violating.items())[:_MOST_WARNINGS]:
                warn(f"{name}: {reasons}")


def _spec_changed(old: core_v1.Pod, new: core_v1.Pod) -> bool:
    return bool(old.spec != new.spec)


def _template(obj: Any) -> Any:
    spec = getattr(obj, "spec", None)
    if spec is None:
        return getattr(obj, "template", None)
    job = getattr(spec, "job_template", None)
    return getattr(job.spec if job is not None else spec, "template", None)
