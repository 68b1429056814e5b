"""Upstream's options of auditing, and the auditor that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from tiphys.apiserver.audit.auditor import AuditMetrics, Auditor, Backend
from tiphys.apiserver.audit.backends import Batches, Log, Truncation, Webhook
from tiphys.apiserver.audit.logfile import LogFile
from tiphys.apiserver.audit.policy import Rules, load
from tiphys.client.config import ConfigError
from tiphys.client.config import load as load_kubeconfig
from tiphys.client.posting import Poster

MODES = ("batch", "blocking", "blocking-strict")
LOG_BATCHES = Batches(most=1, throttled=False)


@dataclass(frozen=True)
class LogOptions:
    """`path` empty: no log. Sizes are in megabytes, ages in days, as upstream's flags have it."""

    path: str = ""
    maxage: int = 366
    maxbackup: int = 100
    maxsize: int = 100
    compress: bool = False
    mode: str = "blocking"
    batches: Batches = LOG_BATCHES
    truncation: Truncation | None = None


@dataclass(frozen=True)
class WebhookOptions:
    """`config_file` is a kubeconfig, None: no webhook. `initial_backoff` is in seconds."""

    config_file: Path | None = None
    initial_backoff: float = 10.0
    mode: str = "batch"
    batches: Batches = field(default_factory=Batches)
    truncation: Truncation | None = None


@dataclass(frozen=True)
class AuditOptions:
    policy_file: Path | None = None
    log: LogOptions = field(default_factory=LogOptions)
    webhook: WebhookOptions = field(default_factory=WebhookOptions)


def auditor_of(options: AuditOptions, collectors: CollectorRegistry) -> Auditor | None:
    """The auditor, None when there is no policy or no backend. Raises ValueError in upstream's
    words, and OSError for a log that cannot be opened."""
    _check(options)
    if options.policy_file is None:
        return None
    rules = Rules(load(options.policy_file))
    if not options.log.path and options.webhook.config_file is None:
        return None
    metrics = AuditMetrics(collectors)
    backends: list[Backend] = []
    if options.log.path:
        backends.append(_log(options.log, metrics))
    if options.webhook.config_file is not None:
        backends.append(_webhook(options.webhook, options.webhook.config_file, metrics))
    return Auditor(rules, backends, metrics)


def _log(options: LogOptions, metrics: AuditMetrics) -> Log:
    file = LogFile(
        options.path, options.maxsize, options.maxage, options.maxbackup, options.compress
    )
    return Log(file, options.mode, options.truncation, options.batches, metrics)


def _webhook(options: WebhookOptions, file: Path, metrics: AuditMetrics) -> Webhook:
    try:
        poster = Poster(load_kubeconfig(file))
    except (ConfigError, OSError, KeyError, TypeError) as error:
        raise ValueError(f"initializing audit webhook: {error}") from None
    return Webhook(
        poster,
        options.mode,
        options.truncation,
        options.batches,
        metrics,
        options.initial_backoff,
    )


def _check(options: AuditOptions) -> None:
    log = options.log
    if log.path:
        _check_backend("log", log.mode, log.batches, log.truncation)
        for name in ("maxage", "maxbackup", "maxsize"):
            value = getattr(log, name)
            if value < 0:
                raise ValueError(f"--audit-log-{name} {value} can't be a negative number")
    webhook = options.webhook
    if webhook.config_file is not None:
        _check_backend("webhook", webhook.mode, webhook.batches, webhook.truncation)


def _check_backend(name: str, mode: str, batches: Batches, truncation: Truncation | None) -> None:
    if mode not in MODES:
        allowed = ",".join(MODES)
        raise ValueError(f'invalid audit {name} mode {mode}, allowed modes are "{allowed}"')
    if mode == "batch":
        numbers: list[tuple[str, float]] = [
            ("buffer size", batches.buffer),
            ("max batch size", batches.most),
        ]
        if batches.throttled:
            numbers += [("throttle QPS", batches.rate), ("throttle burst", batches.burst)]
        for setting, number in numbers:
            if number <= 0:
                raise ValueError(
                    f"invalid audit batch {name} {setting} {number}, must be a positive number"
                )
    if truncation is None:
        return
    if truncation.most <= 0:
        raise ValueError(
            f"invalid audit truncate {name} max event size {truncation.most}, must be a positive "
            "number"
        )
    if truncation.most_batch < truncation.most:
        raise ValueError(
            f"invalid audit truncate {name} max batch size {truncation.most_batch}, must be "
            f"greater than max event size ({truncation.most})"
        )
