"""Container images made from files, without a registry: an OCI layout in a tar file."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import struct
import subprocess
import tarfile
from pathlib import Path

from tiphys.cluster.sandboxes import places
from tiphys.cluster.state import Cluster, ClusterError

PAUSE = "tiphys.local/pause:1"


def pause_program() -> bytes:
    """A program that does nothing for ever, as a static ELF file of under 200 bytes: what holds a pod's namespaces."""
    if platform.machine() == "aarch64":
        # mov x8, #73 (ppoll); mov x0..x4, #0; svc 0; b .-24
        code = struct.pack(
            "<8I",
            0xD2800928,
            0xD2800000,
            0xD2800001,
            0xD2800002,
            0xD2800003,
            0xD2800004,
            0xD4000001,
            0x17FFFFF9,
        )
        machine = 183
    else:
        code = bytes.fromhex("b8220000000f05ebf7")  # mov eax, 34 (pause); syscall; jmp to the start
        machine = 62
    base = 0x400000
    entry, size = base + 120, 120 + len(code)
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + code


def layer(files: dict[str, bytes | str], folders: tuple[str, ...] = ()) -> bytes:
    """A tar of files (path → content, or ``->target`` for a link); the same input gives the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in sorted(
            {
                *folders,
                *(
                    str(parent)
                    for name in files
                    for parent in Path(name).parents
                    if str(parent) != "."
                ),
            }
        ):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size, info.mode = (
                    len(content),
                    0o755 if content[:4] == b"\x7fELF" or content[:2] == b"#!" else 0o644,
                )
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def build(
    path: Path,
    name: str,
    files: dict[str, bytes | str],
    entrypoint: list[str],
    folders: tuple[str, ...] = (),
    env: tuple[str, ...] = (),
) -> None:
    """Writes an image tar that `tiphys image load`, ctr and docker can read."""
    content = layer(files, folders)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = json.dumps(
        {
            "architecture": arch,
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin:/usr/bin", *env]},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
            "history": [{"created_by": "tiphys"}],
        }
    ).encode()
    blobs = {hashlib.sha256(data).hexdigest(): data for data in (content, config)}

    def descriptor(kind: str, data: bytes) -> dict[str, object]:
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
            "size": len(data),
        }

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar", content)],
        }
    ).encode()
    blobs[hashlib.sha256(manifest).hexdigest()] = manifest
    reference = {
        **descriptor("manifest.v1+json", manifest),
        "annotations": {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        },
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [reference]}).encode()
    with tarfile.open(path, "w") as tar:
        rows = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
        rows |= {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
        for file, data in rows.items():
            info = tarfile.TarInfo(file)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def load(cluster: Cluster, path: Path) -> str:
    """Imports an image tar into the runtime of every node; returns what the first said."""
    if cluster.runtime != "containerd":
        raise ClusterError(
            f"cluster {cluster.name} runs no containers (runtime {cluster.runtime}); images are for clusters on containerd"
        )
    if not path.exists():
        raise ClusterError(f"{path} does not exist")
    said = [_import(place.socket, path) for place in places(cluster)]
    return said[0]


def _import(socket: Path, path: Path) -> str:
    command = ["ctr", "--address", str(socket), "-n", "k8s.io", "images", "import", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(
            f"{path} could not be loaded: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout.strip()
