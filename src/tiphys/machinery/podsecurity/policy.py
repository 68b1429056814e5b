"""Which standards the pods of a namespace have to keep: those of its labels, and the defaults where
it has none."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

LEVELS = ("privileged", "baseline", "restricted")  # the stricter, the later
MODES = ("enforce", "audit", "warn")
PREFIX = "pod-security.kubernetes.io/"
_KEYS = tuple(f"{PREFIX}{mode}{suffix}" for mode in MODES for suffix in ("", "-version"))
_VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]{0,17})")


class LevelVersion(NamedTuple):
    """`version` is ``latest`` or ``v1.24``: the standards of that release."""

    level: str = "privileged"
    version: str = "latest"

    @property
    def minor(self) -> int:
        return sys.maxsize if self.version == "latest" else int(self.version.removeprefix("v1."))

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


_NOTHING = LevelVersion()


@dataclass(frozen=True, slots=True)
class Policy:
    """What is refused, what is noted in the audit log, and what is warned of."""

    enforce: LevelVersion = _NOTHING
    audit: LevelVersion = _NOTHING
    warn: LevelVersion = _NOTHING


_DEFAULTS = Policy()


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


def policy_of(
    labels: Mapping[str, str], defaults: Policy = _DEFAULTS
) -> tuple[Policy, tuple[FieldError, ...]]:
    """The policy of a namespace, and what is wrong with its labels.

    What cannot be parsed fails closed for enforce, and open for audit and warn, as upstream.
    An enforced level also warns, unless a label sets another one.
    """
    return _policy_of(tuple(map(labels.get, _KEYS)), defaults)


# For every pod that is created: namespaces have few different labels.
@functools.lru_cache(maxsize=1024)
def _policy_of(
    values: tuple[str | None, ...], defaults: Policy
) -> tuple[Policy, tuple[FieldError, ...]]:
    labels = {key: value for key, value in zip(_KEYS, values, strict=True) if value is not None}
    problems: list[FieldError] = []
    modes = {mode: _mode_of(labels, mode, getattr(defaults, mode), problems) for mode in MODES}
    policy = Policy(**modes)
    if f"{PREFIX}warn" not in labels and labels.get(f"{PREFIX}enforce") in LEVELS:
        policy = _warning_of_what_is_enforced(policy, labels)
    return policy, tuple(problems)


def _warning_of_what_is_enforced(policy: Policy, labels: Mapping[str, str]) -> Policy:
    if LEVELS.index(policy.enforce.level) <= LEVELS.index(policy.warn.level):
        return policy
    own_version = f"{PREFIX}warn-version" in labels
    version = policy.warn.version if own_version else policy.enforce.version
    return replace(policy, warn=LevelVersion(policy.enforce.level, version))


def _mode_of(
    labels: Mapping[str, str], mode: str, default: LevelVersion, problems: list[FieldError]
) -> LevelVersion:
    key = PREFIX + mode
    level, version = default
    if key in labels:
        level = labels[key]
        if level not in LEVELS:
            allowed = "must be one of privileged, baseline, restricted"
            problems.append(errors.invalid_value(f"metadata.labels[{key}]", level, allowed))
            level = "restricted" if mode == "enforce" else "privileged"
    key = f"{key}-version"
    if key in labels:
        version = labels[key]
        if not is_version(version):
            allowed = 'must be "latest" or "v1.x"'
            problems.append(errors.invalid_value(f"metadata.labels[{key}]", version, allowed))
            version = "latest"
    return LevelVersion(level, version)
