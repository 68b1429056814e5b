"""The file of an AuthenticationConfiguration, as structs."""

from __future__ import annotations

from msgspec import field

from tiphys.api.base import Struct, named


class Issuer(Struct):
    url: str = ""
    discovery_url: str = named("discoveryURL", "")
    certificate_authority: str = ""
    audiences: list[str] = []
    audience_match_policy: str = ""
    egress_selector_type: str = ""


class ClaimValidationRule(Struct):
    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""


class PrefixedClaimOrExpression(Struct):
    claim: str = ""
    prefix: str | None = None
    expression: str = ""


class ClaimOrExpression(Struct):
    claim: str = ""
    expression: str = ""


class ExtraMapping(Struct):
    key: str = ""
    value_expression: str = ""


class ClaimMappings(Struct):
    username: PrefixedClaimOrExpression = field(default_factory=PrefixedClaimOrExpression)
    groups: PrefixedClaimOrExpression = field(default_factory=PrefixedClaimOrExpression)
    uid: ClaimOrExpression = field(default_factory=ClaimOrExpression)
    extra: list[ExtraMapping] = []


class UserValidationRule(Struct):
    expression: str = ""
    message: str = ""


class JWTAuthenticator(Struct):
    issuer: Issuer = field(default_factory=Issuer)
    claim_validation_rules: list[ClaimValidationRule] = []
    claim_mappings: ClaimMappings = field(default_factory=ClaimMappings)
    user_validation_rules: list[UserValidationRule] = []


class AnonymousCondition(Struct):
    path: str = ""


class Anonymous(Struct):
    enabled: bool = False
    conditions: list[AnonymousCondition] = []


class AuthenticationConfiguration(Struct):
    api_version: str = ""
    kind: str = ""
    jwt: list[JWTAuthenticator] = []
    anonymous: Anonymous | None = None
