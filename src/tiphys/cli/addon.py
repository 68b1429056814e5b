"""`tiphys addon`: what there is, enabling, disabling, and how enabled add-ons are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tiphys.addons.optional import OptionalAddon
    from tiphys.client.client import Client
    from tiphys.client.config import Config
    from tiphys.cluster.state import Cluster

T = TypeVar("T")

_context = click.option(
    "--context", default=None, help="A context of your kubeconfig [default: the current one]."
)
_kubeconfig = click.option("--kubeconfig", type=click.Path(path_type=Path), default=None)


@click.group()
def addon() -> None:
    """Enable and disable add-ons: operators, gateways, scalers."""


@addon.command("list")
@_context
@_kubeconfig
def list_(context: str | None, kubeconfig: Path | None) -> None:
    """List the add-ons there are, and which are enabled."""
    from tiphys.addons import OPTIONAL

    enabled = _ask(context, kubeconfig, _enabled, unreachable={})
    for name, offered in OPTIONAL.items():
        click.echo(f"{name:<16} {_state(enabled.get(name)):<12} {offered.summary}")


@addon.command()
@click.argument("name", required=False)
@_context
@_kubeconfig
def status(name: str | None, context: str | None, kubeconfig: Path | None) -> None:
    """Show how enabled add-ons are; exit with 1 if one is not ready."""
    enabled = _ask(context, kubeconfig, _enabled)
    if name is not None:
        _offered(name)
        enabled = {name: enabled[name]} if name in enabled else {}
    if not enabled:
        click.echo(f"{name} is not enabled." if name else "No add-on is enabled.")
        raise SystemExit(1 if name else 0)
    for addon_name, instance in enabled.items():
        ready = _ready(instance)
        words = f"{ready.reason}: {ready.message}" if ready is not None else "has not started yet"
        click.echo(f"{addon_name:<16} {_state(instance):<12} {words}")
    if any(_state(instance) != "ready" for instance in enabled.values()):
        raise SystemExit(1)


@addon.command()
@click.argument("name")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting; may be repeated."
)
@click.option(
    "--timeout", default=60.0, show_default=True, help="Seconds to wait until it is ready."
)
@_context
@_kubeconfig
def enable(
    name: str,
    assignments: tuple[str, ...],
    timeout: float,
    context: str | None,
    kubeconfig: Path | None,
) -> None:
    """Enable an add-on, or change its settings.

    In a cluster of `tiphys up` it runs beside the other components. In any other cluster it runs as
    a pod, from an image of this release (`tiphys image build --self`).
    """
    from tiphys.addons import installing

    offered = _offered(name)
    ours = _cluster_of(_config(context, kubeconfig))
    if ours is not None:
        try:
            installing.check_dependencies(offered)
        except installing.AddonError as error:
            raise click.ClickException(str(error)) from None

    async def work(client: Client) -> str:
        before = (await _enabled(client)).get(name)
        settings = installing.settings_of(offered, assignments, before and before.spec.settings)
        enabled = await installing.enable(client, offered, settings)
        if ours is None:
            await installing.apply_deployment(client, offered, settings)
        else:
            await asyncio.to_thread(_run_beside, ours)
        return await _until_ready(client, name, enabled.metadata.generation, timeout)

    message = _ask(context, kubeconfig, work)
    click.echo(f"{name} is enabled: {message}.")
    if offered.try_next:
        click.echo("Try next:")
    for command in offered.try_next:
        click.echo(f"  {command}")


@addon.command()
@click.argument("name")
@click.option("--purge", is_flag=True, help="Remove its custom objects without asking.")
@_context
@_kubeconfig
def disable(name: str, purge: bool, context: str | None, kubeconfig: Path | None) -> None:
    """Disable an add-on and remove everything that it left in the cluster."""
    from tiphys.addons import removing

    offered = _offered(name)
    lost = _ask(context, kubeconfig, lambda client: removing.custom_objects(client, offered))
    if lost and not purge:
        shown = removing.shortened(lost)
        if not sys.stdin.isatty():
            raise click.ClickException(f"{shown} would be lost; --purge removes them, too")
        click.confirm(f"{shown} will be lost. Go on?", abort=True)
    _ask(context, kubeconfig, lambda client: removing.disable(client, offered))
    ours = _cluster_of(_config(context, kubeconfig))
    if ours is not None and not _ask(context, kubeconfig, _enabled):
        _run_beside(ours, False)
    click.echo(f"{name} is disabled.")


@addon.command()
@click.argument("name")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting; may be repeated."
)
@click.option(
    "--image", default=None, help="The image it runs from [default: tiphys of this release]."
)
def manifest(name: str, assignments: tuple[str, ...], image: str | None) -> None:
    """Print the YAML that runs an add-on as a pod on any Kubernetes."""
    import yaml

    from tiphys.addons import installing
    from tiphys.api.base import to_builtins

    offered = _offered(name)
    try:
        settings = installing.settings_of(offered, assignments)
    except installing.AddonError as error:
        raise click.ClickException(str(error)) from None
    objects = installing.whole_manifest(offered, settings, image or "")
    click.echo(yaml.safe_dump_all([to_builtins(obj) for obj in objects], sort_keys=False), nl=False)


# --- asking the cluster ---


def _offered(name: str) -> OptionalAddon:
    from tiphys.addons import OPTIONAL

    if name not in OPTIONAL:
        raise click.ClickException(f"there is no add-on {name} (there are: {', '.join(OPTIONAL)})")
    return OPTIONAL[name]


def _config(context: str | None, kubeconfig: Path | None) -> Config:
    from tiphys.client.config import ConfigError, load

    try:
        return load(kubeconfig, context)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


_NEVER = object()


def _ask(
    context: str | None,
    kubeconfig: Path | None,
    work: Callable[[Client], Awaitable[T]],
    unreachable: Any = _NEVER,
) -> T:
    """What `work` returns. Errors that the user can mend are a line, unless there is an answer for
    `unreachable`."""
    from tiphys.addons.installing import AddonError
    from tiphys.client.client import Client, Unreachable
    from tiphys.machinery.errors import StatusError

    async def main() -> T:
        async with Client(config, "tiphys") as client:
            return await work(client)

    try:
        config = _config(context, kubeconfig)
        return asyncio.run(main())
    except (Unreachable, click.ClickException) as error:
        if unreachable is not _NEVER:
            return unreachable  # type: ignore[no-any-return]
        if isinstance(error, click.ClickException):
            raise
        raise click.ClickException(f"{error}; is the cluster up? (tiphys status)") from None
    except (AddonError, StatusError) as error:
        raise click.ClickException(str(error)) from None


async def _enabled(client: Client) -> dict[str, Any]:
    """The objects of enabled add-ons by name; none where nothing was ever enabled."""
    from tiphys.addons import types
    from tiphys.machinery.errors import StatusError, is_not_found

    try:
        listed = await client.list(types.Addon)
    except StatusError as error:
        if is_not_found(error):
            return {}
        raise
    return {instance.metadata.name: instance for instance in listed.items}


def _ready(enabled: Any) -> Any:
    from tiphys.machinery import conditions

    ready = conditions.find(enabled.status.conditions, "Ready")
    is_current = ready is not None and ready.observed_generation == enabled.metadata.generation
    return ready if is_current else None


def _state(enabled: Any) -> str:
    if enabled is None:
        return "-"
    ready = _ready(enabled)
    if ready is None:
        return "starting"
    return "ready" if ready.status == "True" else "failing"


async def _until_ready(client: Client, name: str, generation: int, timeout: float) -> str:
    """The message of the add-on's condition once it is ready with these settings. Raises
    AddonError."""
    from tiphys.addons.installing import AddonError

    last = "it has not started yet"
    try:
        async with asyncio.timeout(timeout):
            while True:
                instance = (await _enabled(client)).get(name)
                if instance is None:
                    raise AddonError(f"{name} was disabled meanwhile")
                ready = _ready(instance)
                if ready is not None and instance.metadata.generation >= generation:
                    if ready.status == "True":
                        return str(ready.message)
                    last = f"{ready.reason}: {ready.message}"
                    if ready.reason in ("Misconfigured", "Unknown"):
                        raise AddonError(f"{name} does not run: {ready.message}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AddonError(
            f"{name} is installed and was not ready in {timeout:g} s: {last}; "
            f"see: tiphys addon status {name}"
        ) from None


# --- the process beside a cluster of ours ---


def _cluster_of(config: Config) -> Cluster | None:
    """Our cluster behind a kubeconfig; None for any other."""
    from tiphys.cluster import state

    return next((cluster for cluster in state.everyone() if cluster.server == config.server), None)


def _run_beside(cluster: Cluster, wanted: bool = True) -> None:
    """Has the cluster's supervisor run add-ons, now and after every restart, or no longer."""
    from tiphys.cluster import up as cluster_up
    from tiphys.cluster.state import ClusterError

    if cluster.addons == wanted:
        return
    cluster.addons = wanted
    cluster.save()
    try:
        cluster_up.reload(cluster)
    except ClusterError as error:
        raise click.ClickException(str(error)) from None
