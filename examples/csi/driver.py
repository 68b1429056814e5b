"""A driver of storage: its volumes are folders of the node that they were made on.

It shows how a CSI driver works, from end to end, in one program that runs on each node:

1. it registers with the node, at a socket in `plugins_registry`, and says what it calls the node;
2. it makes a volume for a claim that is to be used on its node (as the side car
   external-provisioner does with `--node-deployment`), and lets it grow (external-resizer);
3. it says that a volume is attached (external-attacher): for folders there is nothing to do;
4. the node asks it to stage a volume once, and to publish it for each pod: mounts of the folder;
5. the node takes back both, and the volume goes with its claim.

A volume that is a pod's own (`csi` in its spec) is made when it is published, and goes with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tiphys.api import core_v1, storage_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client
from tiphys.client.config import load
from tiphys.client.informer import Informers
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import protobuf, quantity
from tiphys.machinery.errors import StatusError, is_already_exists, is_not_found
from tiphys.node.csi import messages as m
from tiphys.node.plugins import messages as registration
from tiphys.node.volumes.mounts import bind, unmount

DRIVER = "folders.example.com"
TOPOLOGY = "topology.folders.example.com/node"
KUBELET = Path("/var/lib/kubelet")
REGISTRY = KUBELET / "plugins_registry" / f"{DRIVER}-reg.sock"
ENDPOINT = KUBELET / "plugins" / DRIVER / "csi.sock"
VOLUMES = Path("/volumes")  # a folder of the node
SELECTED_NODE = "volume.kubernetes.io/selected-node"


def folder_of(handle: str) -> Path:
    """Raises ValueError for a handle that is no name."""
    if not handle or "/" in handle or handle.startswith("."):
        raise ValueError(f"{handle!r} is not a volume")
    return VOLUMES / handle


class NodeService:
    """What the node asks. Every call may be made again."""

    def __init__(self, node: str) -> None:
        self._node = node

    async def get_info(self, request: m.NodeGetInfoRequest, context: Any) -> m.NodeGetInfoResponse:
        topology = m.Topology(segments={TOPOLOGY: self._node})
        return m.NodeGetInfoResponse(
            node_id=self._node, max_volumes_per_node=100, accessible_topology=topology
        )

    async def get_capabilities(
        self, request: m.NodeGetCapabilitiesRequest, context: Any
    ) -> m.NodeGetCapabilitiesResponse:
        kinds = (m.STAGE_UNSTAGE_VOLUME, m.GET_VOLUME_STATS, m.EXPAND_VOLUME)
        rows = [m.NodeServiceCapability(rpc=m.NodeRPC(type=kind)) for kind in kinds]
        return m.NodeGetCapabilitiesResponse(capabilities=rows)

    async def stage(
        self, request: m.NodeStageVolumeRequest, context: Any
    ) -> m.NodeStageVolumeResponse:
        folder = folder_of(request.volume_id)
        if not folder.is_dir():
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no volume {request.volume_id}")
        mount(folder, Path(request.staging_target_path))
        return m.NodeStageVolumeResponse()

    async def unstage(
        self, request: m.NodeUnstageVolumeRequest, context: Any
    ) -> m.NodeUnstageVolumeResponse:
        unmount(Path(request.staging_target_path))
        return m.NodeUnstageVolumeResponse()

    async def publish(
        self, request: m.NodePublishVolumeRequest, context: Any
    ) -> m.NodePublishVolumeResponse:
        source = Path(request.staging_target_path)
        if not request.staging_target_path:  # a pod's own
            source = folder_of(request.volume_id)
            source.mkdir(parents=True, exist_ok=True)
            pod = request.volume_context.get("csi.storage.k8s.io/pod.name", "")
            (source / "owner").write_text(f"{pod}\n")
        mount(source, Path(request.target_path))
        return m.NodePublishVolumeResponse()

    async def unpublish(
        self, request: m.NodeUnpublishVolumeRequest, context: Any
    ) -> m.NodeUnpublishVolumeResponse:
        target = Path(request.target_path)
        unmount(target)
        if target.is_dir():
            target.rmdir()
        if request.volume_id.startswith("csi-"):  # as nodes call volumes that are a pod's own
            shutil.rmtree(folder_of(request.volume_id), ignore_errors=True)
        return m.NodeUnpublishVolumeResponse()

    async def expand(
        self, request: m.NodeExpandVolumeRequest, context: Any
    ) -> m.NodeExpandVolumeResponse:
        """A folder is as large as the disk: there is nothing to do."""
        size = request.capacity_range.required_bytes if request.capacity_range else 0
        return m.NodeExpandVolumeResponse(capacity_bytes=size)

    async def stats(
        self, request: m.NodeGetVolumeStatsRequest, context: Any
    ) -> m.NodeGetVolumeStatsResponse:
        facts = os.statvfs(request.volume_path)
        unit = facts.f_frsize
        usage = m.VolumeUsage(
            unit=m.BYTES,
            total=facts.f_blocks * unit,
            available=facts.f_bavail * unit,
            used=(facts.f_blocks - facts.f_bfree) * unit,
        )
        return m.NodeGetVolumeStatsResponse(usage=[usage])

    def methods(self) -> dict[str, Any]:
        return {
            "NodeGetInfo": unary(self.get_info, m.NodeGetInfoRequest),
            "NodeGetCapabilities": unary(self.get_capabilities, m.NodeGetCapabilitiesRequest),
            "NodeStageVolume": unary(self.stage, m.NodeStageVolumeRequest),
            "NodeUnstageVolume": unary(self.unstage, m.NodeUnstageVolumeRequest),
            "NodePublishVolume": unary(self.publish, m.NodePublishVolumeRequest),
            "NodeUnpublishVolume": unary(self.unpublish, m.NodeUnpublishVolumeRequest),
            "NodeExpandVolume": unary(self.expand, m.NodeExpandVolumeRequest),
            "NodeGetVolumeStats": unary(self.stats, m.NodeGetVolumeStatsRequest),
        }


def mount(source: Path, target: Path) -> None:
    """Shows a folder at another place; nothing happens where it is there already."""
    handle = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bind(handle, target)
    finally:
        os.close(handle)


class Controller:
    """What the cluster asks, for volumes of this node. Each look does what is left to do."""

    def __init__(self, client: Client, node: str, informers: Informers) -> None:
        self._client = client
        self._node = node
        self._claims = informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = informers.of(core_v1.PersistentVolume)
        self._classes = informers.of(storage_v1.StorageClass)
        self._attachments = informers.of(storage_v1.VolumeAttachment)
        self._changed = asyncio.Event()
        for informer in (self._claims, self._volumes, self._classes, self._attachments):
            informer.on_change(lambda old, new: self._changed.set())

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._look()
            except StatusError as error:
                print(f"tried again: {error}", flush=True)
                asyncio.get_running_loop().call_later(1, self._changed.set)

    async def _look(self) -> None:
        for claim in list(self._claims):
            if not claim.spec.volume_name:
                await self._provision(claim)
        for volume in list(self._volumes):
            if volume.spec.csi is not None and volume.spec.csi.driver == DRIVER:
                await self._keep(volume)
        for attachment in list(self._attachments):
            if attachment.spec.attacher == DRIVER and attachment.spec.node_name == self._node:
                await self._attach(attachment)

    async def _provision(self, claim: core_v1.PersistentVolumeClaim) -> None:
        storage_class = self._classes.get(claim.spec.storage_class_name or "")
        if storage_class is None or storage_class.provisioner != DRIVER:
            return
        if claim.metadata.annotations.get(SELECTED_NODE) != self._node:
            return  # the scheduler has not chosen a node yet, or another one
        name = f"pvc-{claim.metadata.uid}"
        folder_of(name).mkdir(parents=True, exist_ok=True)
        try:
            await self._client.create(self._volume(name, claim, storage_class))
        except StatusError as error:
            if not is_already_exists(error):
                raise

    def _volume(
        self,
        name: str,
        claim: core_v1.PersistentVolumeClaim,
        storage_class: storage_v1.StorageClass,
    ) -> core_v1.PersistentVolume:
        here = core_v1.NodeSelectorRequirement(key=TOPOLOGY, operator="In", values=[self._node])
        term = core_v1.NodeSelectorTerm(match_expressions=[here])
        meta = claim.metadata
        spec = core_v1.PersistentVolumeSpec(
            capacity={"storage": claim.spec.resources.requests["storage"]},
            access_modes=list(claim.spec.access_modes),
            persistent_volume_reclaim_policy=storage_class.reclaim_policy or "Delete",
            storage_class_name=storage_class.metadata.name,
            claim_ref=core_v1.ObjectReference(
                api_version="v1",
                kind="PersistentVolumeClaim",
                namespace=meta.namespace,
                name=meta.name,
                uid=meta.uid,
            ),
            node_affinity=core_v1.VolumeNodeAffinity(
                required=core_v1.NodeSelector(node_selector_terms=[term])
            ),
        )
        spec.csi = core_v1.CSIPersistentVolumeSource(driver=DRIVER, volume_handle=name)
        annotations = {"pv.kubernetes.io/provisioned-by": DRIVER}
        return core_v1.PersistentVolume(
            metadata=ObjectMeta(name=name, annotations=annotations), spec=spec
        )

    async def _keep(self, volume: core_v1.PersistentVolume) -> None:
        """Removes a volume whose claim is gone; lets one grow whose claim asks for more."""
        assert volume.spec.csi is not None
        folder = folder_of(volume.spec.csi.volume_handle)
        if not folder.is_dir():
            return  # on another node
        is_released = volume.status.phase == "Released"
        if is_released and volume.spec.persistent_volume_reclaim_policy == "Delete":
            try:
                await self._client.delete(core_v1.PersistentVolume, volume.metadata.name)
            except StatusError as error:
                if not is_not_found(error):
                    raise
            shutil.rmtree(folder, ignore_errors=True)
            return
        reference = volume.spec.claim_ref
        if reference is None or is_released:
            return
        claim = self._claims.get(f"{reference.namespace}/{reference.name}")
        if claim is not None and claim.spec.volume_name == volume.metadata.name:
            await self._grow(claim, volume)

    async def _grow(
        self, claim: core_v1.PersistentVolumeClaim, volume: core_v1.PersistentVolume
    ) -> None:
        wanted = str(claim.spec.resources.requests["storage"])
        if quantity.ceil_units(wanted) <= quantity.ceil_units(str(volume.spec.capacity["storage"])):
            return
        change = {"spec": {"capacity": {"storage": wanted}}}
        await self._client.patch(
            core_v1.PersistentVolume, volume.metadata.name, change, media=MERGE
        )
        pending = {"type": "FileSystemResizePending", "status": "True"}
        await self._client.patch(
            core_v1.PersistentVolumeClaim,
            claim.metadata.name,
            {"status": {"conditions": [pending]}},
            claim.metadata.namespace,
            subresource="status",
            media=MERGE,
        )

    async def _attach(self, attachment: storage_v1.VolumeAttachment) -> None:
        if attachment.status.attached or attachment.metadata.deletion_timestamp:
            return
        await self._client.patch(
            storage_v1.VolumeAttachment,
            attachment.metadata.name,
            {"status": {"attached": True}},
            subresource="status",
            media=MERGE,
        )


# --- the services ---


def unary(call: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=lambda data: protobuf.decode(data, request),
        response_serializer=protobuf.encode,
    )


async def get_info(request: registration.InfoRequest, context: Any) -> registration.PluginInfo:
    return registration.PluginInfo(
        type="CSIPlugin", name=DRIVER, endpoint=str(ENDPOINT), supported_versions=["1.0.0"]
    )


async def on_registered(
    status: registration.RegistrationStatus, context: Any
) -> registration.RegistrationStatusResponse:
    print("registered" if status.plugin_registered else f"refused: {status.error}", flush=True)
    return registration.RegistrationStatusResponse()


async def serve(socket: Path, service: str, methods: dict[str, Any]) -> grpc.aio.Server:
    socket.parent.mkdir(parents=True, exist_ok=True)
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(service, methods)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    return server


async def main() -> None:
    stop = stop_event()
    tasks = TaskGroup("driver")
    node = os.environ["NODE_NAME"]
    async with Client(load(), "folders-driver") as client:
        controller = Controller(client, node, Informers(client, tasks))
        tasks.start(controller.run(), "controller", vital=True)
        driver = await serve(ENDPOINT, "csi.v1.Node", NodeService(node).methods())
        registrar = await serve(
            REGISTRY,
            "pluginregistration.Registration",
            {
                "GetInfo": unary(get_info, registration.InfoRequest),
                "NotifyRegistrationStatus": unary(on_registered, registration.RegistrationStatus),
            },
        )
        await stop.wait()
        await registrar.stop(0)
        await driver.stop(1)
        await tasks.stop()


if __name__ == "__main__":
    asyncio.run(main())
