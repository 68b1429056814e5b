"""Upstream's options of authorization, and the chain of authorizers that they make."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.authorizationconfiguration import (
    KINDS,
    AuthorizationConfiguration,
    AuthorizerConfiguration,
    ConnectionInfo,
    WebhookConfiguration,
    parse_configuration,
)
from tiphys.apiserver.access.authorizationwebhooks import AuthorizationWebhook, WebhookSettings
from tiphys.apiserver.access.authorizers import (
    Always,
    AuthorizationMetrics,
    Chain,
    Decision,
    Named,
    Rules,
    Step,
)
from tiphys.apiserver.access.reloading import ConfigFile
from tiphys.client.config import ConfigError, in_cluster, load
from tiphys.client.posting import Poster
from tiphys.client.reloadmetrics import ReloadMetrics
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import durations
from tiphys.machinery.configfiles import ConfigFileError

DEFAULT_MODES = ("Node", "RBAC")


@dataclass(frozen=True)
class AuthorizationOptions:
    """`config_file` is an AuthorizationConfiguration; without it the other options say what one
    would. Times are durations in Go's syntax."""

    config_file: Path | None = None
    modes: tuple[str, ...] = DEFAULT_MODES
    webhook_config_file: Path | None = None
    webhook_version: str = "v1beta1"
    webhook_authorized_ttl: str = "5m"
    webhook_unauthorized_ttl: str = "30s"


class Authorization:
    """Gives an authorizer the chain that is configured. With the default modes it needs none: its
    own way is quicker."""

    def __init__(
        self,
        options: AuthorizationOptions,
        authorizer: Authorizer,
        collectors: CollectorRegistry,
        server: str,
    ) -> None:
        """Raises ConfigFileError."""
        self._authorizer = authorizer
        self._webhooks: list[AuthorizationWebhook] = []
        self._tasks = TaskGroup("authorization")
        self._file: ConfigFile | None = None
        configuration = _of_flags(options)
        if options.config_file is not None:
            if configuration is not None:
                raise ConfigFileError(
                    "--authorization-config can not be specified when --authorization-mode or "
                    "--authorization-webhook-* flags are defined"
                )
            metrics = ReloadMetrics(collectors, "authorization", server)
            self._file = ConfigFile(options.config_file, "authorization", metrics, self._update)
            configuration = _from_file(self._file, options.config_file)
        if configuration is None:
            return
        self._metrics = AuthorizationMetrics(collectors)
        authorizer.chain, self._webhooks = self._chain(configuration)

    def start(self) -> None:
        if self._file is not None:
            self._tasks.start(self._file.run(), "configuration")

    async def stop(self) -> None:
        await self._tasks.stop()
        for webhook in self._webhooks:
            await webhook.close()

    async def _update(self, data: bytes) -> None:
        chain, webhooks = self._chain(parse_configuration(data))
        self._authorizer.chain = chain
        before = self._webhooks
        self._webhooks = webhooks
        for webhook in before:
            await webhook.close()

    def _chain(
        self, configuration: AuthorizationConfiguration
    ) -> tuple[Chain, list[AuthorizationWebhook]]:
        steps: list[Named] = []
        webhooks: list[AuthorizationWebhook] = []
        for authorizer in configuration.authorizers:
            step: Step
            if authorizer.webhook is not None:
                webhook = self._webhook(authorizer.name, authorizer.webhook)
                webhooks.append(webhook)
                step = webhook
            else:
                step = self._built_in(authorizer.type)
            steps.append(Named(authorizer.type, authorizer.name, step))
        return Chain(steps, self._metrics), webhooks

    def _built_in(self, kind: str) -> Step:
        match kind:
            case "Node":
                return Rules(self._authorizer.by_node)
            case "RBAC":
                return Rules(self._authorizer.by_rules)
            case "AlwaysAllow":
                return Always(Decision(allowed=True))
            case _:
                return Always(Decision(denied=True, reason="Everything is forbidden."))

    def _webhook(self, name: str, configured: WebhookConfiguration) -> AuthorizationWebhook:
        settings = WebhookSettings(
            name,
            configured.subject_access_review_version,
            _ttl(configured.cache_authorized_requests, configured.authorized_ttl),
            _ttl(configured.cache_unauthorized_requests, configured.unauthorized_ttl),
            configured.failure_policy == "Deny",
            tuple(condition.expression for condition in configured.match_conditions),
        )
        poster = _poster(configured.connection_info, durations.seconds(configured.timeout))
        return AuthorizationWebhook(settings, poster, self._metrics)


def _ttl(kept: bool, text: str) -> float:
    return durations.seconds(text) if kept else 0.0


def _poster(info: ConnectionInfo | None, seconds: float) -> Poster:
    """Raises ConfigFileError."""
    file = info.kube_config_file if info is not None else None
    try:
        return Poster(load(file) if file is not None else in_cluster(), seconds)
    except (ConfigError, OSError, ssl.SSLError, KeyError, TypeError, ValueError) as error:
        raise ConfigFileError(f"{file}: {error}") from None


def _from_file(config: ConfigFile, file: Path) -> AuthorizationConfiguration:
    try:
        return parse_configuration(config.read())
    except ConfigFileError as error:
        raise ConfigFileError(
            f'failed to load AuthorizationConfiguration from file "{file}": {error}'
        ) from None


def _of_flags(options: AuthorizationOptions) -> AuthorizationConfiguration | None:
    """The flags as a configuration; None for the default."""
    modes = options.modes
    file = options.webhook_config_file
    if modes == DEFAULT_MODES and file is None:
        return None
    for mode in modes:
        if mode not in KINDS:
            raise ConfigFileError(f'authorization-mode "{mode}" is not a valid mode')
    if len(set(modes)) < len(modes):
        raise ConfigFileError(f"authorization-mode {list(modes)} has mode specified more than once")
    if ("Webhook" in modes) != (file is not None):
        if file is None:
            raise ConfigFileError(
                "authorization-mode Webhook's authorization config file not passed"
            )
        raise ConfigFileError(
            "cannot specify --authorization-webhook-config-file without mode Webhook"
        )
    webhook = WebhookConfiguration(
        authorized_ttl=options.webhook_authorized_ttl,
        unauthorized_ttl=options.webhook_unauthorized_ttl,
        timeout="30s",
        subject_access_review_version=options.webhook_version,
        failure_policy="NoOpinion",
        connection_info=ConnectionInfo(type="KubeConfigFile", kube_config_file=str(file)),
    )
    return AuthorizationConfiguration(
        authorizers=[
            AuthorizerConfiguration(
                type=mode, name=mode.lower(), webhook=webhook if mode == "Webhook" else None
            )
            for mode in modes
        ]
    )
