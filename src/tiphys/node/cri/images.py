"""The images of a CRI runtime."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import msgspec

from tiphys.node.cri import messages as m
from tiphys.node.cri import snapshots
from tiphys.node.cri.client import CRIClient
from tiphys.node.runtime import RuntimeFault
from tiphys.node.volumes.mounts import mount_read_only

_PULL_TIMEOUT = 1800.0  # seconds
_STOP_SIGNAL = "SIGTERM"  # of images that name none


class _Config(msgspec.Struct):
    StopSignal: str = ""


class _Spec(msgspec.Struct):
    config: _Config = msgspec.field(default_factory=_Config)


class _Info(msgspec.Struct):
    """The page ``info`` of containerd's verbose status of an image."""

    chainID: str = ""
    imageSpec: _Spec = msgspec.field(default_factory=_Spec)


class CRIImages:
    """The part of `runtime.Runtime` that is about images."""

    def __init__(self, client: CRIClient) -> None:
        self._client = client
        self._present: set[str] = set()
        self._stop_signals: dict[str, str] = {}  # by ids of images, whose content they are

    async def has_image(self, image: str) -> bool:
        if image in self._present:
            return True
        status = await self._status(image)
        is_present = status is not None and bool(status.id)
        if is_present:
            self._present.add(image)
        return is_present

    async def image_id(self, image: str) -> str:
        status = await self._status(image)
        return status.id if status is not None else ""

    async def image_user(self, image: str) -> tuple[int | None, str]:
        status = await self._status(image)
        if status is None:
            return None, ""
        uid = status.uid.value if status.uid is not None else None
        return uid, status.username

    async def image_size(self, image: str) -> int:
        status = await self._status(image)
        return status.size if status is not None else 0

    async def _status(self, image: str) -> m.Image | None:
        request = m.ImageStatusRequest(image=m.ImageSpec(image=image))
        response = await self._client.call(
            "ImageService/ImageStatus", request, m.ImageStatusResponse
        )
        return response.image

    async def pull(self, image: str, auth: dict[str, str] | None) -> None:
        request = m.PullImageRequest(image=m.ImageSpec(image=image))
        if auth:
            request.auth = m.AuthConfig(**auth)
        try:
            await self._client.call(
                "ImageService/PullImage", request, m.PullImageResponse, timeout=_PULL_TIMEOUT
            )
        except RuntimeFault as fault:
            raise RuntimeFault("ErrImagePull", _rpc_message(fault)) from None
        except TimeoutError:
            minutes = int(_PULL_TIMEOUT // 60)
            text = f"pulling {image} took longer than {minutes} minutes"
            raise RuntimeFault("ErrImagePull", text) from None

    async def mount_image(self, image: str, uid: str, volume: str, place: Path) -> None:
        if os.path.ismount(place):
            return
        try:
            info = await self._info(image)
        except RuntimeFault as fault:
            raise _mount_fault(fault) from None
        view = await self._view(snapshots.view_of(info.chainID, uid, volume))
        try:
            for mount in view.mounts:
                await asyncio.to_thread(
                    mount_read_only, mount.type, mount.source, mount.options, place
                )
        except OSError as error:
            raise _mount_fault(error) from None

    async def image_stop_signal(self, id: str) -> str:
        """The name of the signal that ends containers of an image, which may be any text. Raises
        RuntimeFault."""
        if id not in self._stop_signals:
            info = await self._info(id)
            self._stop_signals[id] = info.imageSpec.config.StopSignal or _STOP_SIGNAL
        return self._stop_signals[id]

    async def _info(self, image: str) -> _Info:
        """What containerd knows of an image beyond CRI. Raises RuntimeFault if it has none."""
        request = m.ImageStatusRequest(image=m.ImageSpec(image=image), verbose=True)
        response = await self._client.call(
            "ImageService/ImageStatus", request, m.ImageStatusResponse
        )
        try:
            return msgspec.json.decode(response.info.get("info", ""), type=_Info)
        except msgspec.MsgspecError as error:
            raise RuntimeFault(
                "NotFound", f"containerd does not know image {image}: {error}"
            ) from None

    async def _view(self, request: snapshots.ViewRequest) -> snapshots.MountsResponse:
        """The mounts of a view, which an agent before this one may have made."""
        try:
            [view] = await self._client.snapshots("View", request, snapshots.MountsResponse)
        except RuntimeFault as fault:
            if fault.reason != "ALREADY_EXISTS":
                raise _mount_fault(fault) from None
            existing = snapshots.MountsRequest(key=request.key)
            [view] = await self._client.snapshots("Mounts", existing, snapshots.MountsResponse)
        return view

    async def release_images(self, uid: str) -> None:
        answers = await self._client.snapshots(
            "List", snapshots.of_pod(uid), snapshots.ListResponse
        )
        for answer in answers:
            for snapshot in answer.info:
                request = snapshots.RemoveRequest(key=snapshot.name)
                with contextlib.suppress(RuntimeFault):
                    await self._client.snapshots("Remove", request, snapshots.RemoveResponse)

    async def remove_image(self, image: str) -> None:
        request = m.RemoveImageRequest(image=m.ImageSpec(image=image))
        await self._client.call("ImageService/RemoveImage", request, m.RemoveImageResponse)
        self._stop_signals.pop(image, None)
        self._present.clear()  # the same image may have had other names

    async def images(self) -> list[tuple[list[str], int]]:
        response = await self._client.call(
            "ImageService/ListImages", m.ListImagesRequest(), m.ListImagesResponse
        )
        return [([*image.repo_digests, *image.repo_tags], image.size) for image in response.images]


def _rpc_message(fault: RuntimeFault) -> str:
    """As upstream shows it: with the code of the answer, but for Unknown, which says nothing."""
    code = fault.reason.title().replace("_", "")
    return str(fault) if code == "Unknown" else f"rpc error: code = {code} desc = {fault}"


def _mount_fault(error: Exception) -> RuntimeFault:
    return RuntimeFault("CreateContainerError", f"failed to mount image volume: {error}")
