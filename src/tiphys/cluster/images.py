"""Container images made from files, without a registry: an OCI layout in a tar file."""

from __future__ import annotations

import platform
import struct
import subprocess
import tempfile
from pathlib import Path

from tiphys.cluster.layers import Config, LayerFiles, write_image
from tiphys.cluster.sandboxes import NodePlace, places
from tiphys.cluster.state import Cluster, ClusterError

PAUSE = "tiphys.local/pause:1"


def pause_program() -> bytes:
    """A program that does nothing for ever, as a static ELF file of under 200 bytes: what holds a
    pod's namespaces."""
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
    entry = base + 120
    size = 120 + len(code)
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + code


def build(
    path: Path,
    name: str,
    files: dict[str, bytes | str],
    entrypoint: list[str],
    folders: tuple[str, ...] = (),
    env: tuple[str, ...] = (),
) -> str:
    """Writes an image of a few files (path → content, or a link's target) and returns its digest.

    Programs and scripts are executable, ``tmp`` is everybody's. The same input gives the same
    bytes.
    """
    with LayerFiles() as gathered, tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            gathered.folder(folder, 0o1777 if folder == "tmp" else 0o755)
        for file, content in files.items():
            if isinstance(content, str):
                gathered.link(file, content)
            else:
                is_program = content[:4] == b"\x7fELF" or content[:2] == b"#!"
                gathered.file(file, content, 0o755 if is_program else 0o644)
        layer = Path(scratch) / "layer.tar"
        gathered.write(layer)
        return write_image(path, name, layer, Config(entrypoint, env=["PATH=/bin:/usr/bin", *env]))


def load(cluster: Cluster, path: Path) -> str:
    """Imports an image tar into the runtime of every node; returns the output of the first."""
    if cluster.runtime != "containerd":
        raise ClusterError(
            f"cluster {cluster.name} runs no containers (runtime {cluster.runtime}); images are "
            "for clusters on containerd"
        )
    if not path.exists():
        raise ClusterError(f"{path} does not exist")
    # Machines of add-ons come and go; one that comes copies the first node's images.
    up = [place for place in places(cluster) if not place.record or place.socket.exists()]
    outputs = [_import(place.socket, path) for place in up]
    return outputs[0]


def copy(source: NodePlace, target: NodePlace) -> None:
    """Gives a new node what a machine's disk would have from its start: the images of another
    node. Raises ClusterError."""
    listed = _ctr(source.socket, "images", "ls", "-q").split()
    names = [name for name in listed if "@" not in name and not name.startswith("sha256:")]
    with tempfile.TemporaryDirectory(dir=target.cluster.root) as scratch:
        archive = Path(scratch) / "images.tar"
        _ctr(source.socket, "images", "export", str(archive), *names)
        _import(target.socket, archive)


def _ctr(socket: Path, *words: str) -> str:
    command = ["ctr", "--address", str(socket), "-n", "k8s.io", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{' '.join(words[:2])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _import(socket: Path, path: Path) -> str:
    command = ["ctr", "--address", str(socket), "-n", "k8s.io", "images", "import", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(
            f"{path} could not be loaded: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout.strip()
