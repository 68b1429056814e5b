"""An EncryptionConfiguration (apiserver.config.k8s.io/v1), read as strictly as upstream does.

The rules and their words are upstream's (apiserver/validation/validation_encryption.go). No message
shows a secret.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tiphys.client.reloadmetrics import sha256_of
from tiphys.machinery import durations
from tiphys.machinery.fielderrors import FieldError, invalid_value, required

AES_SIZES = (16, 24, 32)  # bytes of a key
SECRETBOX_SIZES = (32,)
_VERSIONS = ("apiserver.config.k8s.io/v1",)
_NOT_SERVED = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")
_ANY = ("*", "*")


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the text is for the user."""


class Key(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    secret: str = ""  # base64

    @property
    def bytes(self) -> bytes:
        """Raises ValueError."""
        return base64.b64decode(self.secret, validate=True)


class Keys(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Key] = []


class KMS(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A plugin. `timeout` as Go writes durations."""

    apiVersion: str = "v1"  # upstream's default, which has to be changed
    name: str = ""
    endpoint: str = ""
    cachesize: int | None = None
    timeout: str = "3s"

    @property
    def seconds(self) -> float:
        """Raises DurationError."""
        return durations.seconds(self.timeout)


class Provider(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One of them is set."""

    secretbox: Keys | None = None
    aesgcm: Keys | None = None
    aescbc: Keys | None = None
    kms: KMS | None = None
    identity: dict[str, Any] | None = None


class Resources(msgspec.Struct, forbid_unknown_fields=True):
    resources: list[str] = []
    providers: list[Provider] = []


class EncryptionConfiguration(msgspec.Struct, forbid_unknown_fields=True):
    apiVersion: str = ""
    kind: str = ""
    resources: list[Resources] = []


class GroupResource(NamedTuple):
    """What a rule is about; `*` means all."""

    resource: str
    group: str

    def __str__(self) -> str:
        """As users write it: ``secrets``, ``deployments.apps``, ``*.`` for all of the core
        group."""
        if self.group or self.resource == "*":
            return f"{self.resource}.{self.group}"
        return self.resource


def group_resource(text: str) -> GroupResource:
    resource, _, group = text.partition(".")
    return GroupResource(resource, group)


class Loaded(NamedTuple):
    """A configuration, and upstream's hash of the file it was read from."""

    configuration: EncryptionConfiguration
    hash: str


def read(file: Path) -> Loaded:
    """Reads and checks a file. Raises ConfigurationError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f'error reading encryption provider configuration file "{file}": {error.strerror}'
        ) from None
    if not data:
        raise ConfigurationError(f'encryption provider configuration file "{file}" is empty')
    try:
        configuration = parse(data)
    except ConfigurationError as error:
        raise ConfigurationError(
            f'error decoding encryption provider configuration file "{file}": {error}'
        ) from None
    violations = list(violations_of(configuration))
    if violations:
        raise ConfigurationError(f"{file}: " + "; ".join(map(str, violations)))
    return Loaded(configuration, sha256_of(data))


def parse(data: bytes) -> EncryptionConfiguration:
    """Raises ConfigurationError for what is no configuration at all."""
    import yaml

    try:
        document = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        configuration = msgspec.convert(document, EncryptionConfiguration)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # The parser would quote the line, and a secret with it.
        raise ConfigurationError(f"line {line}: {error.problem}") from None
    except (yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(str(error)) from None
    if configuration.apiVersion not in _VERSIONS or configuration.kind != "EncryptionConfiguration":
        raise ConfigurationError(
            f'no kind "{configuration.kind}" is registered for version '
            f'"{configuration.apiVersion}": an EncryptionConfiguration of {_VERSIONS[0]} is needed'
        )
    return configuration


def violations_of(configuration: EncryptionConfiguration) -> Iterator[FieldError]:
    """What is wrong with a configuration."""
    if not configuration.resources:
        yield required("resources", "at least one resources is required")
    earlier: set[GroupResource] = set()
    yield from _plugin_violations(configuration)
    for index, rule in enumerate(configuration.resources):
        yield from _rule_violations(f"resources[{index}]", rule)
        yield from _masked(f"resources[{index}].resources", rule, earlier)
        earlier |= {group_resource(text) for text in rule.resources}


def _rule_violations(path: str, rule: Resources) -> Iterator[FieldError]:
    resources = f"{path}.resources"
    if not rule.resources:
        yield required(resources, f"at least one {resources} is required")
    yield from _overlaps(resources, rule.resources)
    for index, text in enumerate(rule.resources):
        problem = _name_problem(text)
        if problem:
            yield invalid_value(f"{resources}[{index}]", text, problem)
    providers = f"{path}.providers"
    if not rule.providers:
        yield required(providers, f"at least one {providers} is required")
    for index, provider in enumerate(rule.providers):
        yield from _provider_violations(f"{providers}[{index}]", provider)


def _masked(path: str, rule: Resources, earlier: set[GroupResource]) -> Iterator[FieldError]:
    for index, text in enumerate(rule.resources):
        named = group_resource(text)
        for wider in (GroupResource("*", named.group), GroupResource(*_ANY)):
            if wider in earlier:
                problem = f'resource "{named}" is masked by earlier rule "{wider}"'
                yield invalid_value(f"{path}[{index}]", text, problem)
                break


def _overlaps(path: str, texts: list[str]) -> Iterator[FieldError]:
    named = [group_resource(text) for text in texts]
    if len(set(named)) < len(named):
        problem = "the same resource cannot be specified multiple times"
        yield invalid_value(path, texts, problem)
    wide = {target.group for target in named if target.resource == "*"}
    any_of_any = _ANY in named and len(named) > 1
    if any_of_any or any(target.resource != "*" and target.group in wide for target in named):
        problem = (
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is "
            "not allowed as they will be masked"
        )
        yield invalid_value(path, texts, problem)


def _name_problem(text: str) -> str:
    """Upstream's words for a name that cannot be encrypted; "" if it can."""
    named = group_resource(text)
    if text.lower() != text:
        return "resource name should not contain capital letters"
    if text == "*":
        return (
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all "
            "resources"
        )
    if text in _NOT_SERVED:
        return "resources which do not have REST API/s cannot be encrypted"
    if named.group == "events.k8s.io":
        return (
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use "
            "'events' instead in the config file"
        )
    if named.group == "extensions":
        return "'extensions' group has been removed and cannot be used for encryption"
    if named.group == "*" and named.resource != "*":
        return "encrypting the same resource across groups is not supported"
    return ""


def _provider_violations(path: str, provider: Provider) -> Iterator[FieldError]:
    names = provider.__struct_fields__
    configured = [name for name in names if getattr(provider, name) is not None]
    if not configured:
        problem = (
            "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, "
            "Secretbox, Identity"
        )
        yield invalid_value(path, {}, problem)
        return
    if len(configured) > 1:
        problem = (
            "more than one provider specified in a single element, should split into different "
            "list elements"
        )
        yield invalid_value(path, "REDACTED", problem)
    for name, keys, sizes in (
        ("aesgcm", provider.aesgcm, AES_SIZES),
        ("aescbc", provider.aescbc, AES_SIZES),
        ("secretbox", provider.secretbox, SECRETBOX_SIZES),
    ):
        if keys is not None:
            yield from _key_violations(f"{path}.{name}.keys", keys.keys, sizes)


def _plugin_violations(configuration: EncryptionConfiguration) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, rule in enumerate(configuration.resources):
        for number, provider in enumerate(rule.providers):
            if provider.kms is not None:
                path = f"resources[{index}].providers[{number}].kms"
                yield from _kms_violations(path, provider.kms, names)
                names.add(provider.kms.name)


def _kms_violations(path: str, kms: KMS, names: set[str]) -> Iterator[FieldError]:
    if not kms.name:
        yield required(f"{path}.name", "name is a mandatory field for a provider")
    if ":" in kms.name and kms.apiVersion != "v1":
        problem = f"invalid KMS provider name {kms.name}, must not contain ':'"
        yield invalid_value(f"{path}.name", kms.name, problem)
    if kms.name in names:
        problem = f"duplicate KMS provider name {kms.name}, names must be unique"
        yield invalid_value(f"{path}.name", kms.name, problem)
    try:
        is_positive = kms.seconds > 0
    except durations.DurationError:
        is_positive = False
    if not is_positive:
        yield invalid_value(f"{path}.timeout", kms.timeout, "timeout should be a positive value")
    scheme, colon, _ = kms.endpoint.partition("://")
    if not kms.endpoint:
        yield invalid_value(f"{path}.endpoint", "", "endpoint is a mandatory field for a kms")
    elif scheme != "unix" or not colon:
        scheme = scheme if colon else ""
        problem = f'unsupported scheme "{scheme}" for KMS provider, only unix is supported'
        yield invalid_value(f"{path}.endpoint", kms.endpoint, problem)
    if kms.apiVersion == "v1":
        problem = (
            "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 "
            "instead"
        )
        yield invalid_value(f"{path}.apiVersion", "v1", problem)
        return
    if kms.cachesize is not None:
        problem = "cachesize is not supported in v2"
        yield invalid_value(f"{path}.cachesize", kms.cachesize, problem)
    if kms.apiVersion != "v2":
        problem = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported"
        yield invalid_value(f"{path}.apiVersion", kms.apiVersion, problem)


def _key_violations(path: str, keys: list[Key], sizes: tuple[int, ...]) -> Iterator[FieldError]:
    if not keys:
        yield required(path, "at least one keys is required")
    for index, key in enumerate(keys):
        if not key.name:
            yield required(f"{path}[{index}].name", "name is a mandatory field for a key")
        secret = f"{path}[{index}].secret"
        if not key.secret:
            yield required(secret, "secret is a mandatory field for a key")
            continue
        try:
            size = len(key.bytes)
        except (binascii.Error, ValueError):
            yield invalid_value(secret, "REDACTED", "secrets must be base64 encoded")
            continue
        if size not in sizes:
            expected = " ".join(map(str, sizes))
            problem = f"secret is not of the expected length, got {size}, expected one of "
            yield invalid_value(secret, "REDACTED", f"{problem}[{expected}]")
