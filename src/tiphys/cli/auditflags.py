"""The flags of auditing, by upstream's names, and the options that they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiphys.cli.durations import Duration

if TYPE_CHECKING:
    from tiphys.apiserver.audit.backends import Batches, Truncation
    from tiphys.apiserver.audit.options import AuditOptions

_FILE = click.Path(path_type=Path)


# (flag below --audit-log- or --audit-webhook-, type, default of the log, of the webhook, help)
_OF_BACKENDS: tuple[tuple[str, Any, Any, Any, str], ...] = (
    ("mode", str, "blocking", "batch", "batch, blocking or blocking-strict."),
    ("batch-buffer-size", int, 10_000, 10_000, "Events that wait before some are dropped."),
    ("batch-max-size", int, 1, 400, "Events of a batch."),
    ("batch-max-wait", Duration(), "0s", "30s", "How long a batch waits to be full."),
    ("batch-throttle-enable", bool, False, True, "Whether batches are throttled."),
    ("batch-throttle-qps", float, 0, 10.0, "Batches a second."),
    ("batch-throttle-burst", int, 0, 15, "Batches at a time."),
    ("truncate-enabled", bool, False, False, "Whether large events lose their objects."),
    ("truncate-max-batch-size", int, 10_485_760, 10_485_760, "Bytes of a batch."),
    ("truncate-max-event-size", int, 102_400, 102_400, "Bytes of an event."),
)
_OF_THE_LOG: tuple[tuple[str, Any, Any, str], ...] = (
    ("path", str, "", "The file that events are written to; - is the standard output."),
    ("maxage", int, 366, "Days that old files are kept."),
    ("maxbackup", int, 100, "Old files that are kept."),
    ("maxsize", int, 100, "Megabytes from which a new file begins."),
    ("compress", bool, False, "Whether old files are compressed."),
    ("format", click.Choice(["json"]), "json", "How events are written."),
)


def audit_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags to a command, which gets them as arguments."""
    for name, kind, default, text in reversed(_OF_THE_LOG):
        command = _option("log", name, kind, default, text)(command)
    for name, kind, of_log, of_webhook, text in reversed(_OF_BACKENDS):
        command = _option("log", name, kind, of_log, text)(command)
        command = _option("webhook", name, kind, of_webhook, text)(command)
    command = _option(
        "webhook", "initial-backoff", Duration(), "10s", "The pause before a second attempt."
    )(command)
    command = click.option(
        "--audit-webhook-config-file", type=_FILE, help="A kubeconfig: where events are posted."
    )(command)
    return click.option(
        "--audit-policy-file", type=_FILE, help="An audit.k8s.io/v1 Policy: what is audited."
    )(command)


def _option(backend: str, name: str, kind: Any, default: Any, text: str) -> Any:
    flag = f"--audit-{backend}-{name}"
    return click.option(flag, type=kind, default=default, show_default=True, help=text)


def audit_options(flags: dict[str, Any]) -> AuditOptions:
    """The options of the flags' values, which are taken out of `given`."""
    from tiphys.apiserver.audit.options import AuditOptions, LogOptions, WebhookOptions

    values = {name: flags.pop(name) for name in list(flags) if name.startswith("audit_")}
    names = ("path", "maxage", "maxbackup", "maxsize", "compress")
    log = LogOptions(
        **{name: values[f"audit_log_{name}"] for name in names},
        mode=values["audit_log_mode"],
        batches=_batches(values, "audit_log_"),
        truncation=_truncation(values, "audit_log_"),
    )
    webhook = WebhookOptions(
        values["audit_webhook_config_file"],
        values["audit_webhook_initial_backoff"],
        values["audit_webhook_mode"],
        _batches(values, "audit_webhook_"),
        _truncation(values, "audit_webhook_"),
    )
    return AuditOptions(values["audit_policy_file"], log, webhook)


def _batches(values: dict[str, Any], prefix: str) -> Batches:
    from tiphys.apiserver.audit.backends import Batches

    names = ("buffer_size", "max_size", "max_wait")
    throttle = ("throttle_enable", "throttle_qps", "throttle_burst")
    return Batches(*(values[f"{prefix}batch_{name}"] for name in (*names, *throttle)))


def _truncation(values: dict[str, Any], prefix: str) -> Truncation | None:
    from tiphys.apiserver.audit.backends import Truncation

    if not values[f"{prefix}truncate_enabled"]:
        return None
    names = ("max_event_size", "max_batch_size")
    return Truncation(*(values[f"{prefix}truncate_{name}"] for name in names))
