"""Upstream's options of authentication beside certificates and this server's own tokens, and the
authenticator that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from tiphys.apiserver.access.authentication import Authenticator
from tiphys.apiserver.access.authenticationconfiguration import (
    check_configuration,
    parse_configuration,
)
from tiphys.apiserver.access.authenticationtypes import (
    Anonymous,
    AuthenticationConfiguration,
    ClaimMappings,
    ClaimValidationRule,
    Issuer,
    JWTAuthenticator,
    PrefixedClaimOrExpression,
)
from tiphys.apiserver.access.bootstraptokens import BootstrapTokens
from tiphys.apiserver.access.issuers import Issuers, TokenIssuer
from tiphys.apiserver.access.keysets import ALGORITHMS
from tiphys.apiserver.access.reloading import ConfigFile, NotYet
from tiphys.apiserver.access.serviceaccounttokens import ServiceAccountTokens
from tiphys.apiserver.access.tokenwebhooks import TokenWebhook, TokenWebhookOptions
from tiphys.client.config import ConfigError
from tiphys.client.reloadmetrics import ReloadMetrics
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import errors
from tiphys.machinery.configfiles import ConfigFileError, check

_UPDATE_SECONDS = 60.0  # that new issuers may take to be reached


@dataclass(frozen=True)
class OIDCOptions:
    """The `--oidc-...` flags: one issuer. `required_claims` are (claim, value)."""

    issuer_url: str = ""
    client_id: str = ""
    ca_file: Path | None = None
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    signing_algs: tuple[str, ...] = ("RS256",)
    required_claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class AuthenticationOptions:
    """`anonymous_auth` None: as the file has it, or on."""

    config_file: Path | None = None
    anonymous_auth: bool | None = None
    oidc: OIDCOptions = field(default_factory=OIDCOptions)
    webhook: TokenWebhookOptions | None = None


class Authentication:
    """The authenticator of a server, and the file that it is configured by."""

    def __init__(
        self,
        options: AuthenticationOptions,
        tokens: ServiceAccountTokens,
        static: Path | None,
        collectors: CollectorRegistry,
        server: str,
        bootstrap: BootstrapTokens | None = None,
    ) -> None:
        """Raises ConfigFileError."""
        self._own_issuer = tokens.issuer
        self._tasks = TaskGroup("authentication")
        self._file: ConfigFile | None = None
        self._algorithms: tuple[str, ...] = ALGORITHMS
        configuration = AuthenticationConfiguration()
        if options.config_file is not None:
            metrics = ReloadMetrics(collectors, "authentication", server)
            file = options.config_file
            self._file = ConfigFile(file, "authentication", metrics, self._update)
            configuration = self._from_file(self._file, file)
        _check_flags(options)
        if options.oidc.issuer_url:
            configuration.jwt = [_of_flags(options.oidc)]
            self._algorithms = options.oidc.signing_algs
            check_configuration(configuration, self._own_issuer)
        self._anonymous = configuration.anonymous
        anonymous = _anonymous(configuration.anonymous, options.anonymous_auth)
        issuers = self._issuers(configuration)
        webhook = _webhook(options, tokens)
        self.authenticator = Authenticator(tokens, static, issuers, webhook, anonymous, bootstrap)

    def start(self) -> None:
        """Fetches the issuers' keys in the background: an issuer that is down delays no request."""
        issuers = self.authenticator.issuers
        self._tasks.start(issuers.are_reached(_UPDATE_SECONDS), "issuers")
        if self._file is not None:
            self._tasks.start(self._file.run(), "configuration")

    async def stop(self) -> None:
        await self._tasks.stop()
        await self.authenticator.close()

    def _from_file(self, config: ConfigFile, file: Path) -> AuthenticationConfiguration:
        try:
            return parse_configuration(config.read(), self._own_issuer)
        except ConfigFileError as error:
            raise ConfigFileError(
                f'failed to load authentication configuration from file "{file}": {error}'
            ) from None

    def _issuers(self, configuration: AuthenticationConfiguration) -> Issuers:
        return Issuers(
            [TokenIssuer(authenticator, self._algorithms) for authenticator in configuration.jwt]
        )

    async def _update(self, data: bytes) -> None:
        """A changed file: its issuers take over once they are all reached, as upstream has it."""
        configuration = parse_configuration(data, self._own_issuer)
        if configuration.anonymous != self._anonymous:
            detail = "changed from initial configuration file"
            check([errors.forbidden_field("anonymous", detail)])
        issuers = self._issuers(configuration)
        problem = await issuers.are_reached(_UPDATE_SECONDS)
        if problem:
            await issuers.close()
            raise NotYet(problem)
        await self.authenticator.trust(issuers)


def _check_flags(options: AuthenticationOptions) -> None:
    oidc = options.oidc
    if options.config_file is not None and (oidc.issuer_url or oidc.client_id):
        raise ConfigFileError("authentication-config file and oidc-* flags are mutually exclusive")
    if bool(oidc.issuer_url) != bool(oidc.client_id):
        raise ConfigFileError(
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags "
            "are set"
        )
    for algorithm in oidc.signing_algs:
        if algorithm not in ALGORITHMS:
            raise ConfigFileError(f'oidc: unsupported signing alg: "{algorithm}"')


def _anonymous(configured: Anonymous | None, flag: bool | None) -> Anonymous:
    if configured is None:
        return Anonymous(enabled=flag is not False)
    if flag is not None:
        raise ConfigFileError(
            "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is "
            "configured in authentication configuration file"
        )
    return configured


def _of_flags(oidc: OIDCOptions) -> JWTAuthenticator:
    """The flags as a configuration."""
    prefix = oidc.username_prefix
    if not prefix and oidc.username_claim != "email":
        prefix = f"{oidc.issuer_url}#"
    username = PrefixedClaimOrExpression(
        claim=oidc.username_claim, prefix="" if prefix == "-" else prefix
    )
    mappings = ClaimMappings(username=username)
    if oidc.groups_claim:
        mappings.groups = PrefixedClaimOrExpression(
            claim=oidc.groups_claim, prefix=oidc.groups_prefix
        )
    try:
        authority = oidc.ca_file.read_text() if oidc.ca_file is not None else ""
    except OSError as error:
        raise ConfigFileError(f"{oidc.ca_file}: {error.strerror}") from None
    return JWTAuthenticator(
        issuer=Issuer(
            url=oidc.issuer_url, audiences=[oidc.client_id], certificate_authority=authority
        ),
        claim_mappings=mappings,
        claim_validation_rules=[
            ClaimValidationRule(claim=claim, required_value=value)
            for claim, value in oidc.required_claims
        ],
    )


def _webhook(options: AuthenticationOptions, tokens: ServiceAccountTokens) -> TokenWebhook | None:
    if options.webhook is None:
        return None
    try:
        return TokenWebhook(options.webhook, [tokens.issuer])
    except (ConfigError, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigFileError(f"{options.webhook.config_file}: {error}") from None
