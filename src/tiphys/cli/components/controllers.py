"""`tiphys controllers`, with the scheduler in the same process if that is wanted."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from tiphys.cli.components.names import names
from tiphys.cli.components.scheduler import profiles_of, start_scheduler
from tiphys.cli.logs import configure, log_format
from tiphys.cli.monitoring import component_client, monitored
from tiphys.cli.process import end_process, run_process

if TYPE_CHECKING:
    from tiphys.client.component import Ending
    from tiphys.client.informer import Informers
    from tiphys.client.monitoring import Endpoint
    from tiphys.client.tasks import TaskGroup

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.option("--kubeconfig", type=_FOLDER, required=True)
@click.option(
    "--scheduler-kubeconfig",
    type=_FOLDER,
    default=None,
    help="Run the scheduler in this process, too, as this identity.",
)
@click.option("--ca", type=_FOLDER, required=True, help="The CA certificate that pods are given.")
@click.option("--leader-elect", type=bool, default=True, show_default=True)
@click.option(
    "--ca-key",
    type=_FOLDER,
    default=None,
    help="The key of the CA, which signs certificate requests.",
)
@click.option("--cluster-cidr", default="", help="Pod networks of which nodes are given ranges.")
@click.option("--service-cluster-ip-range", default="", help="Networks that are kept from pods.")
@click.option(
    "--server-certificate",
    type=_FOLDER,
    default=None,
    help="Of the API server: no node is given a certificate for its names.",
)
@click.option(
    "--scheduler-config", type=_FOLDER, default=None, help="A KubeSchedulerConfiguration."
)
@click.option(
    "--scheduler-secure-port",
    default=10259,
    show_default=True,
    help="Where the metrics of the scheduler in this process are served.",
)
@click.option(
    "--load-balancer-pools",
    default="",
    help="Comma-separated networks of addresses for services of type LoadBalancer.",
)
@click.option("--api-address", default="", help="HOST:PORT that leads to every API server.")
@monitored(10257)
@log_format
def controllers(
    kubeconfig: Path,
    scheduler_kubeconfig: Path | None,
    ca: Path,
    leader_elect: bool,
    ca_key: Path | None,
    cluster_cidr: str,
    service_cluster_ip_range: str,
    server_certificate: Path | None,
    scheduler_config: Path | None,
    log_format: str,
    scheduler_secure_port: int,
    load_balancer_pools: str,
    api_address: str,
    endpoint: Endpoint | None,
) -> None:
    """Run the controllers."""
    from tiphys import addons
    from tiphys.client.component import lead_and_run
    from tiphys.cluster.certificates import names_of
    from tiphys.controllers.main import run_controllers

    configure(log_format)
    profiles = profiles_of(scheduler_config) if scheduler_kubeconfig is not None else []
    known = urlsplit(f"//{api_address}")
    machines = {
        "api_address": known.hostname or "",
        "api_port": known.port or 0,
        "pod_networks": names(cluster_cidr),
        "service_networks": names(service_cluster_ip_range),
        "server_names": names_of(server_certificate),
    }

    async def main() -> Ending:
        async with contextlib.AsyncExitStack() as stack:
            own = component_client(kubeconfig, "tiphys-controllers", endpoint)
            client = await stack.enter_async_context(own)

            async def start(tasks: TaskGroup) -> Informers:
                informers = await run_controllers(
                    client,
                    tasks,
                    ca.read_text(),
                    ca_key.read_text() if ca_key else "",
                    addons.controllers(),
                    load_balancer_pools,
                    machines,
                )
                if scheduler_kubeconfig is not None:
                    place = replace(endpoint, port=scheduler_secure_port) if endpoint else None
                    its = component_client(scheduler_kubeconfig, "tiphys-scheduler", place)
                    scheduling = await stack.enter_async_context(its)
                    start_scheduler(scheduling, tasks, profiles, informers)
                return informers

            return await lead_and_run(client, "kube-controller-manager", leader_elect, start)

    end_process(run_process(main()))
