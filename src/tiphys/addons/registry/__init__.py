"""A registry of images in the cluster: what docker and `tiphys image` push, nodes pull by name.

For users who build images on the machine of the cluster and want pods to find them as they find
any other. The model is the OCI distribution specification 1.1, as CNCF's `distribution` serves it.

`naming` reads paths and names, `manifests` what an image consists of (both pure); `storage` keeps
blobs by their digest and the repositories that have them, `uploads` receives them in pieces,
`sweeping` removes what is unreferenced; `access` decides who may write, `serving` answers, `nodes`
leads containerd here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.base import Struct

NAME = "registry.tiphys.local"
"""The registry in names of images, on every node of the cluster, whatever its port."""
TOKEN_FILE = "push-token"
"""In the add-on's folder: the password of who pushes."""
HOSTS = "hosts"
"""In the add-on's folder: what containerd reads (`config_path`), a folder for each name."""
_HOST = re.compile(r"(?!localhost)[a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?")


class Settings(Struct):
    """
    port: on 127.0.0.1, and for nodes of this machine at its address among pods, where nothing can
        be pushed
    push: token asks who writes for the password in the file `push-token`; loopback lets everybody
        on this machine write
    certificate, key: PEM files; with them, clients elsewhere are served over TLS at `tlsAddress`
        and `tlsPort`, and may push with the password
    capacity: GiB that blobs may take in all
    mirrors: registries, separated by commas, whose images nodes look for here first
    """

    port: Annotated[int, Meta(ge=0, le=65535)] = 5000
    push: Literal["token", "loopback"] = "token"
    certificate: str = ""
    key: str = ""
    tls_address: str = "0.0.0.0"
    tls_port: Annotated[int, Meta(ge=0, le=65535)] = 5443
    capacity: Annotated[float, Meta(gt=0, le=1 << 20)] = 50.0
    mirrors: Annotated[str, Meta(max_length=4096)] = ""

    def __post_init__(self) -> None:
        for name in self.mirrored():
            if not _HOST.fullmatch(name):
                raise ValueError(
                    f"mirrors: {name!r} is no name of another registry; they are as in "
                    "docker.io,quay.io"
                )

    def mirrored(self) -> list[str]:
        """The names in `mirrors`."""
        return self.mirrors.split(",") if self.mirrors else []


def objects(settings: Settings) -> Sequence[Struct]:
    """Where tools such as Tilt and Skaffold look for the registry of a cluster (KEP-1755)."""
    from tiphys.api import core_v1
    from tiphys.api.meta_v1 import ObjectMeta

    hosting = f'host: "localhost:{settings.port}"\nhostFromContainerRuntime: "{NAME}"\n'
    return [
        core_v1.ConfigMap(
            metadata=ObjectMeta(name="local-registry-hosting", namespace="kube-public"),
            data={"localRegistryHosting.v1": hosting},
        )
    ]


async def run(context: Context) -> None:
    from tiphys.addons.registry.server import run as work

    await work(context)


ADDON = OptionalAddon(
    "registry",
    "A registry of images: docker and `tiphys image push` write, the cluster's nodes pull",
    run,
    settings=Settings,
    rights=(rule("get list watch", "nodes"),),
    objects=objects,
    try_next=(
        "tiphys image build --apt busybox-static --entrypoint busybox -t busybox:1 --push tiphys",
        f"kubectl run shell --rm -it --image {NAME}/busybox:1 -- sh",
    ),
)
