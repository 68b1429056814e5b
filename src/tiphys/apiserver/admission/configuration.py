"""The file of `--admission-control-config-file`: an AdmissionConfiguration with the configurations
of plugins.

PodSecurity is the only plugin that has one: levels for namespaces without labels, and exemptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tiphys.machinery.podsecurity import LEVELS, MODES, LevelVersion, Policy, is_version


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the text is for the user."""


@dataclass(frozen=True, slots=True)
class PodSecurityConfiguration:
    """`defaults`: for namespaces without labels."""

    defaults: Policy = field(default_factory=Policy)
    usernames: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()


def read(file: Path | None) -> PodSecurityConfiguration:
    """The configuration of PodSecurity in a file. Raises ConfigurationError, OSError."""
    configuration = PodSecurityConfiguration()
    if file is None:
        return configuration
    document = _document(file, "AdmissionConfiguration", "apiserver.config.k8s.io/")
    for plugin in document.get("plugins") or []:
        if plugin.get("name") != "PodSecurity":
            raise ConfigurationError(
                f"{file}: no configuration is known for plugin {plugin.get('name')!r}"
            )
        inner = plugin.get("configuration")
        if inner is None and plugin.get("path"):
            inner = _document(
                file.parent / plugin["path"], "PodSecurityConfiguration", "pod-security.admission."
            )
        configuration = _pod_security(file, inner or {})
    return configuration


def _document(file: Path, kind: str, group: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: {error}") from None
    if not isinstance(document, dict) or document.get("kind") != kind:
        raise ConfigurationError(f"{file}: a {kind} is needed")
    if not str(document.get("apiVersion")).startswith(group):
        raise ConfigurationError(f"{file}: a {kind} is needed")
    return document


def _pod_security(file: Path, document: dict[str, Any]) -> PodSecurityConfiguration:
    configured = document.get("defaults") or {}
    exempt = document.get("exemptions") or {}
    defaults = {}
    for mode in MODES:
        level = configured.get(mode, "privileged")
        if level not in LEVELS:
            raise ConfigurationError(
                f"{file}: defaults.{mode}: {level!r} is none of {', '.join(LEVELS)}"
            )
        version = str(configured.get(f"{mode}-version", "latest"))
        if not is_version(version):
            raise ConfigurationError(
                f"{file}: defaults.{mode}-version: {version!r} is neither latest nor v1.x"
            )
        defaults[mode] = LevelVersion(level, version)
    return PodSecurityConfiguration(
        Policy(**defaults),
        frozenset(exempt.get("usernames") or ()),
        frozenset(exempt.get("namespaces") or ()),
        frozenset(exempt.get("runtimeClasses") or ()),
    )
