"""AuthenticationConfiguration (apiserver.config.k8s.io): whose tokens are believed beside this
server's own, what their claims mean, and whether anonymous requests are allowed.

The validation rules and their messages are upstream's (`validation.go`).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tiphys.apiserver.access.authenticationtypes import (
    AuthenticationConfiguration,
    ClaimValidationRule,
    ExtraMapping,
    Issuer,
    JWTAuthenticator,
    PrefixedClaimOrExpression,
    UserValidationRule,
)
from tiphys.machinery import errors
from tiphys.machinery.cel import CelError
from tiphys.machinery.cel.checker import check, type_of
from tiphys.machinery.cel.fitting import DYN
from tiphys.machinery.cel.parser import Node, parse
from tiphys.machinery.configfiles import ConfigFileError, read_strictly
from tiphys.machinery.configfiles import check as check_file
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_subdomain_errors
from tiphys.machinery.structural import compile_schema

VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_MOST_ISSUERS = 64
_RESERVED = ("kubernetes.io", "k8s.io")
_TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_USER = compile_schema(
    {
        "type": "object",
        "properties": {
            "username": {"type": "string"},
            "uid": {"type": "string"},
            "groups": _TEXTS,
            "extra": {"type": "object", "additionalProperties": _TEXTS},
        },
    }
)


def parse_configuration(data: bytes, own_issuer: str) -> AuthenticationConfiguration:
    """The configuration of a file's bytes. `own_issuer` is this server's, whose tokens no other may
    give. Raises ConfigFileError."""
    configuration = read_strictly(data, VERSIONS, AuthenticationConfiguration)
    check_configuration(configuration, own_issuer)
    return configuration


def check_configuration(configuration: AuthenticationConfiguration, own_issuer: str) -> None:
    """Raises ConfigFileError."""
    try:
        check_file(configuration_errors(configuration, own_issuer))
    except ConfigFileError as error:
        raise ConfigFileError(f"invalid authentication configuration: {error}") from None


def configuration_errors(
    configuration: AuthenticationConfiguration, own_issuer: str
) -> list[FieldError]:
    count = len(configuration.jwt)
    if count > _MOST_ISSUERS:
        return [errors.too_many("jwt", count, _MOST_ISSUERS)]
    violations: list[FieldError] = []
    urls: set[str] = set()
    discovered: set[str] = set()
    for index, authenticator in enumerate(configuration.jwt):
        path = f"jwt[{index}]"
        issuer = authenticator.issuer
        violations += _authenticator_errors(authenticator, path, own_issuer)
        if issuer.url in urls:
            violations.append(errors.duplicate(f"{path}.issuer.url", issuer.url))
        urls.add(issuer.url)
        if issuer.discovery_url in discovered:
            field = f"{path}.issuer.discoveryURL"
            violations.append(errors.duplicate(field, issuer.discovery_url))
        if issuer.discovery_url:
            discovered.add(issuer.discovery_url)
    anonymous = configuration.anonymous
    if anonymous is not None and not anonymous.enabled and anonymous.conditions:
        detail = "enabled should be set to true when conditions are defined"
        violations.append(
            errors.invalid_value("anonymous.conditions", anonymous.conditions, detail)
        )
    return violations


def _authenticator_errors(
    authenticator: JWTAuthenticator, path: str, own_issuer: str
) -> Iterator[FieldError]:
    yield from _issuer_errors(authenticator.issuer, f"{path}.issuer", own_issuer)
    rules = authenticator.claim_validation_rules
    yield from _claim_rule_errors(rules, f"{path}.claimValidationRules")
    yield from _mapping_errors(authenticator, f"{path}.claimMappings")
    user_rules = authenticator.user_validation_rules
    yield from _user_rule_errors(user_rules, f"{path}.userValidationRules")


# --- the issuer ---


def _issuer_errors(issuer: Issuer, path: str, own_issuer: str) -> Iterator[FieldError]:
    if issuer.url:
        yield from _url_errors(issuer.url, f"{path}.url", own_issuer)
    else:
        yield errors.required(f"{path}.url")
    if issuer.discovery_url:
        if issuer.url and issuer.url.rstrip("/") == issuer.discovery_url.rstrip("/"):
            detail = "discoveryURL must be different from URL"
            yield errors.invalid_value(f"{path}.discoveryURL", issuer.discovery_url, detail)
        yield from _url_errors(issuer.discovery_url, f"{path}.discoveryURL", "")
    yield from _audience_errors(issuer, path)
    if issuer.certificate_authority and (problem := _authority_problem(issuer)):
        yield errors.invalid_value(f"{path}.certificateAuthority", "<omitted>", problem)
    if issuer.egress_selector_type:
        field = f"{path}.egressSelectorType"
        detail = "egress selector must be either controlplane or cluster"
        if issuer.egress_selector_type not in ("controlplane", "cluster"):
            yield errors.invalid_value(field, issuer.egress_selector_type, detail)


def _url_errors(url: str, path: str, own_issuer: str) -> Iterator[FieldError]:
    if own_issuer and url == own_issuer:
        detail = f"URL must not overlap with disallowed issuers: [{own_issuer}]"
        yield errors.invalid_value(path, url, detail)
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        yield errors.invalid_value(path, url, f'parse "{url}": {error}')
        return
    if parts.scheme != "https":
        yield errors.invalid_value(path, url, "URL scheme must be https")
    elif not host:
        yield errors.invalid_value(path, url, "URL must have a host")
    if "@" in parts.netloc:
        yield errors.invalid_value(path, url, "URL must not contain a username or password")
    if parts.query:
        yield errors.invalid_value(path, url, "URL must not contain a query")
    if parts.fragment:
        yield errors.invalid_value(path, url, "URL must not contain a fragment")


def _audience_errors(issuer: Issuer, path: str) -> Iterator[FieldError]:
    field = f"{path}.audiences"
    if not issuer.audiences:
        yield errors.required(field, f"at least one {field} is required")
        return
    for index, audience in enumerate(issuer.audiences):
        if not audience:
            yield errors.required(f"{field}[{index}]")
        if audience in issuer.audiences[:index]:
            yield errors.duplicate(f"{field}[{index}]", audience)
    policy = issuer.audience_match_policy
    if len(issuer.audiences) > 1 and policy != "MatchAny":
        detail = "audienceMatchPolicy must be MatchAny for multiple audiences"
        yield errors.invalid_value(f"{path}.audienceMatchPolicy", policy, detail)
    if len(issuer.audiences) == 1 and policy not in ("", "MatchAny"):
        detail = "audienceMatchPolicy must be empty or MatchAny for single audience"
        yield errors.invalid_value(f"{path}.audienceMatchPolicy", policy, detail)


def _authority_problem(issuer: Issuer) -> str:
    try:
        ssl.create_default_context(cadata=issuer.certificate_authority)
    except (ssl.SSLError, ValueError):
        return "data does not contain any valid RSA or ECDSA certificates"
    return ""


# --- rules and mappings ---


def _claim_rule_errors(rules: list[ClaimValidationRule], path: str) -> Iterator[FieldError]:
    claims: set[str] = set()
    expressions: set[str] = set()
    for index, rule in enumerate(rules):
        field = f"{path}[{index}]"
        if rule.claim and rule.expression:
            detail = "claim and expression can't both be set"
            yield errors.invalid_value(field, rule.claim, detail)
        elif rule.claim:
            if rule.message:
                detail = "may not be specified when claim is set"
                yield errors.invalid_value(f"{field}.message", rule.message, detail)
            if rule.claim in claims:
                yield errors.duplicate(f"{field}.claim", rule.claim)
            claims.add(rule.claim)
        elif rule.expression:
            if rule.required_value:
                detail = "may not be specified when expression is set"
                yield errors.invalid_value(f"{field}.requiredValue", rule.required_value, detail)
            yield from _once(rule.expression, expressions, f"{field}.expression", "claims", "bool")
        else:
            yield errors.required(field, "claim or expression is required")


def _user_rule_errors(rules: list[UserValidationRule], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        field = f"{path}[{index}].expression"
        if not rule.expression:
            yield errors.required(field)
        else:
            yield from _once(rule.expression, seen, field, "user", "bool")


def _once(
    expression: str, seen: set[str], path: str, variable: str, result: str
) -> Iterator[FieldError]:
    if expression in seen:
        yield errors.duplicate(path, expression)
        return
    seen.add(expression)
    yield from _expression_errors(expression, path, variable, result)


def _mapping_errors(authenticator: JWTAuthenticator, path: str) -> Iterator[FieldError]:
    mappings = authenticator.claim_mappings
    yield from _prefixed_errors(mappings.username, f"{path}.username", required=True)
    yield from _prefixed_errors(mappings.groups, f"{path}.groups", required=False)
    uid = mappings.uid
    if uid.claim and uid.expression:
        detail = "claim and expression can't both be set"
        yield errors.invalid_value(f"{path}.uid", "", detail)
    elif uid.expression:
        yield from _expression_errors(uid.expression, f"{path}.uid.expression", "claims")
    yield from _extra_errors(mappings.extra, f"{path}.extra")
    username = mappings.username.expression
    if _uses(username, "email") and not _verifies_email(authenticator):
        detail = (
            "claims.email_verified must be used in claimMappings.username.expression or "
            "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when "
            "claims.email is used in claimMappings.username.expression"
        )
        yield errors.invalid_value(f"{path}.username.expression", username, detail)


def _verifies_email(authenticator: JWTAuthenticator) -> bool:
    """Whether a deciding expression reads `email_verified`."""
    expressions = [
        authenticator.claim_mappings.username.expression,
        *(mapping.value_expression for mapping in authenticator.claim_mappings.extra),
        *(rule.expression for rule in authenticator.claim_validation_rules),
    ]
    return any(_uses(expression, "email_verified") for expression in expressions)


def _prefixed_errors(
    mapping: PrefixedClaimOrExpression, path: str, required: bool
) -> Iterator[FieldError]:
    if mapping.claim and mapping.expression:
        yield errors.invalid_value(path, "", "claim and expression can't both be set")
    elif mapping.expression:
        if mapping.prefix is not None:
            detail = "may not be specified when expression is set"
            yield errors.invalid_value(f"{path}.prefix", mapping.prefix, detail)
        yield from _expression_errors(mapping.expression, f"{path}.expression", "claims")
    elif mapping.claim:
        if mapping.prefix is None:
            detail = (
                "prefix is required when claim is set. It can be set to an empty string to disable "
                "prefixing"
            )
            yield errors.required(f"{path}.prefix", detail)
    elif required:
        yield errors.required(path, "claim or expression is required")


def _extra_errors(mappings: list[ExtraMapping], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, mapping in enumerate(mappings):
        field = f"{path}[{index}]"
        yield from _key_errors(mapping.key, f"{field}.key")
        if mapping.key in seen:
            yield errors.duplicate(f"{field}.key", mapping.key)
            continue
        seen.add(mapping.key)
        if not mapping.value_expression:
            yield errors.required(f"{field}.valueExpression")
            continue
        yield from _expression_errors(
            mapping.value_expression, f"{field}.valueExpression", "claims"
        )


def _key_errors(key: str, path: str) -> Iterator[FieldError]:
    """A key of extra is `domain/path`, in lower case, and not of this project's domains."""
    domain, slash, rest = key.partition("/")
    if not key:
        yield errors.required(path)
    elif not slash or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield errors.invalid_value(path, key, detail)
    else:
        for problem in dns_subdomain_errors(domain):
            yield errors.invalid_value(path, domain, problem)
    if key != key.lower():
        yield errors.invalid_value(path, key, "must be lowercase")
    if slash and any(domain == own or domain.endswith(f".{own}") for own in _RESERVED):
        detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
        yield errors.invalid_value(path, key, detail)


# --- expressions ---


def _expression_errors(
    expression: str, path: str, variable: str, result: str | None = None
) -> Iterable[FieldError]:
    kind = type_of(_USER) if variable == "user" else DYN
    try:
        check(expression, {variable: kind}, result)
    except CelError as error:
        detail = str(error)
        if detail == f"must evaluate to a {result}":
            detail = f"must evaluate to {result}"
        else:
            detail = f"compilation failed: {detail}"
        return [errors.invalid_value(path, expression, detail)]
    return []


def _uses(expression: str, claim: str) -> bool:
    """Whether an expression selects a claim by its name."""
    if not expression:
        return False
    try:
        return _selects(parse(expression), claim)
    except (CelError, RecursionError):
        return False


def _selects(node: Any, claim: str) -> bool:
    if isinstance(node, list | tuple):
        return any(_selects(child, claim) for child in node)
    if not isinstance(node, Node):
        return False
    if node.kind == "select" and node.value == claim:
        operand = node.args[0]
        if operand.kind == "name" and operand.value == "claims":
            return True
    return _selects(node.args, claim) or _selects(node.target, claim)
