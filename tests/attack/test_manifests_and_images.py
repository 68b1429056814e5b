"""Manifests, images and containers that try to get what is not theirs of a node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiphys.api import core_v1
from tiphys.cluster.staticmanifests import CreatedPods
from tiphys.node.images.access import SecretUse
from tiphys.node.images.pullrecords import PullRecords
from tiphys.node.resources.sysctls import SysctlAllowlist
from tiphys.node.server.nodelogquery import BadQuery, parse
from tiphys.node.staticpods.folder import ManifestFolder
from tiphys.node.staticpods.manifests import ManifestError, static_pod
from tiphys.node.volumes.kubeletfolder import KubeletFolder

POD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: own}\nspec:\n  containers: [{name: c, image: i}]\n"
)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


def read(text: bytes, source: str) -> core_v1.Pod:
    return static_pod(text, source, "n", CreatedPods())


@pytest.mark.parametrize("text", [BOMB, "[" * 100_000, "\x00", "- " * 5000, POD + "---\n" + BOMB])
def test_a_hostile_manifest_is_a_line_in_the_log(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(POD)
    pods = ManifestFolder(tmp_path, read).look()
    assert pods is not None and pods[-1].metadata.name == "own-n"


def test_a_manifest_that_does_not_end_holds_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    assert ManifestFolder(tmp_path, read).look() == []


@pytest.mark.parametrize("uid", ["..", "a/b", ".", "", "-", "a\\nb", "x" * 200])
def test_no_uid_leads_out_of_the_folder_of_pods(uid: str) -> None:
    text = POD.replace("name: own", f'name: own, uid: "{uid}"')
    if not uid:
        assert "/" not in read(text.encode(), "f").metadata.uid
        return
    with pytest.raises(ManifestError):
        read(text.encode(), "f")


@pytest.mark.parametrize("name", ["out", "folder/passwd", "../../passwd", "up/../../../passwd"])
def test_no_profile_leads_out_of_the_folder_of_profiles(tmp_path: Path, name: str) -> None:
    folder = KubeletFolder(tmp_path / "k")
    profiles = folder.root / "seccomp"
    profiles.mkdir(parents=True)
    (profiles / "up").mkdir()
    (profiles / "out").symlink_to("/etc/passwd")
    (profiles / "folder").symlink_to("/etc")
    try:
        place = folder.seccomp_profile(name)
    except OSError:
        return
    assert os.path.realpath(place).startswith(str(folder.root)), "what is there is the node's own"


def test_a_guessed_name_of_a_secret_opens_no_image(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    image, id = "reg.example.com/a:1", "sha256:a"
    records.note_pulled(image, id, SecretUse("uid", "ns", "name", "hash"))
    guesses = [
        SecretUse("other", "ns", "name", "x"),
        SecretUse("uid", "elsewhere", "name", "x"),
        SecretUse("", "", "", ""),
    ]
    assert records.must_pull(image, id, lambda: guesses)
    for same in (
        "reg.example.com/a",
        "reg.example.com/a:2",
        "reg.example.com/a@sha256:" + "0" * 64,
    ):
        assert records.must_pull(same, id, lambda: guesses)


@pytest.mark.parametrize(
    "service", ["-ffoo", "--file=/etc/shadow", "a b", "a;reboot", "$(x)", "a\nb", "ä"]
)
def test_no_name_of_a_service_is_an_option_of_the_journal(service: str) -> None:
    try:
        query = parse([("query", service)])
    except BadQuery:
        return
    assert query is not None
    words = query.arguments(query.services)
    assert f"--unit={service}" in words or query.files, "an argument of its own"


@pytest.mark.parametrize("name", ["kernel.msgmax", "vm/swappiness", "net", "kernel.shm", "a" * 300])
def test_no_spelling_makes_a_sysctl_safe(name: str) -> None:
    spec = core_v1.PodSpec(
        security_context=core_v1.PodSecurityContext(sysctls=[core_v1.Sysctl(name=name, value="1")])
    )
    assert SysctlAllowlist().problem(spec)
