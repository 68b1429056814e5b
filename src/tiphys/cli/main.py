"""`tiphys`: up, down, status, kubeconfig, image, store, machines, and each component alone."""

from __future__ import annotations

import click

from tiphys.cli import components, keeping, machines, updown
from tiphys.cli.addon import addon
from tiphys.cli.image import image
from tiphys.cli.policy import policy
from tiphys.cli.status import kubeconfig, status
from tiphys.cli.store import store


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tiphys")
def cli() -> None:
    """Kubernetes, written in Python."""


_COMMANDS = (
    # a cluster
    updown.up,
    updown.down,
    status,
    kubeconfig,
    *keeping.COMMANDS,
    store,
    # what is in it
    addon,
    image,
    policy,
    # its machines
    machines.token,
    machines.join,
    machines.leave,
    machines.machine,
    *components.COMMANDS,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
