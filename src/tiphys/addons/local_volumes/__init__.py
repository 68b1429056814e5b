"""Local volumes: a claim of the storage class `standard` gets a folder of the node that its first
pod is placed on.

For clusters without a storage system: development machines, tests, and workloads that replicate
their data themselves. The model is rancher/local-path-provisioner; it is a provisioner as
upstream's external ones are: the volume controller hands claims of its class over, and it answers
with a volume.

`folders` removes what a volume held, `provisioning` turns a claim into a volume and keeps a record
of it, `controller` watches claims and volumes. It runs with the controllers, which therefore have
to be on the machine of the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiphys.addons.addon import Addon

if TYPE_CHECKING:
    from tiphys.controllers.shell import Controller


def controllers() -> tuple[type[Controller], ...]:
    from tiphys.addons.local_volumes.controller import LocalVolumeController

    return (LocalVolumeController,)


ADDON = Addon("local_volumes", controllers=controllers)
