"""Folders that somebody else may write to: what is removed, and what is not."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.machinery import handles


@pytest.fixture
def at(tmp_path: Path) -> Iterator[int]:
    """An open folder."""
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_what_is_no_name_is_not_removed(at: int, name: str) -> None:
    with pytest.raises(OSError, match="not a name"):
        handles.remove_tree(at, name)


def test_what_is_not_there_is_gone_already(at: int, tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    handles.remove_tree(at, "nothing")
    assert os.listdir(tmp_path) == ["something"]


def test_a_file_and_a_link_go_and_what_the_link_leads_to_stays(at: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    handles.remove_tree(at, "file")
    handles.remove_tree(at, "link")
    assert os.listdir(tmp_path) == ["kept"]


def test_a_tree_goes_with_all_below_it(at: int, tmp_path: Path) -> None:
    deep = tmp_path / "tree" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (tmp_path / "tree" / "out").symlink_to("/etc")
    (tmp_path / "beside").mkdir()
    handles.remove_tree(at, "tree")
    assert os.listdir(tmp_path) == ["beside"]


def test_a_file_is_read_up_to_the_limit_and_not_through_a_link(at: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert handles.read_file(at, "file", 5) == b"12345"
    assert handles.read_file(at, "file", 3) == b"123"
    with pytest.raises(OSError):
        handles.read_file(at, "link", 5)


@pytest.mark.parametrize("path", ["..", "a/../..", "a//b/.."])
def test_a_path_upward_is_none(path: str) -> None:
    with pytest.raises(OSError):
        handles.parts_of(path)


# --- paths ---


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("", []),
        (".", []),
        ("a", ["a"]),
        ("a//b/./c/", ["a", "b", "c"]),
        ("...", ["..."]),
        ("a" * 4095, ["a" * 4095]),
    ],
)
def test_a_path_is_its_parts(path: str, parts: list[str]) -> None:
    assert handles.parts_of(path) == parts


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("a\0b", errno.EINVAL),
        ("a" * 4096, errno.EINVAL),
        ("ä" * 2048, errno.EINVAL),
        ("/a", errno.EXDEV),
        ("/", errno.EXDEV),
        ("a/..", errno.EXDEV),
    ],
)
def test_what_the_kernel_would_not_take_is_no_path(path: str, error: int) -> None:
    with pytest.raises(OSError) as refused:
        handles.parts_of(path)
    assert refused.value.errno == error and len(str(refused.value.filename)) <= 100


# --- folders ---


def test_folders_are_opened_and_made_on_the_way(at: int, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o755)
    old = os.umask(0o077)
    with handles.folder("a/b/c", at, make=0o775) as handle:
        assert os.fstat(handle).st_ino == (tmp_path / "a/b/c").stat().st_ino
    os.umask(old)
    modes = [(tmp_path / path).stat().st_mode & 0o777 for path in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o775, 0o775], "whatever the umask says; one that was there stays"
    with pytest.raises(FileNotFoundError), handles.folder("a/none/c", at):
        pass
    assert not (tmp_path / "a/none").exists()
    with handles.folder(tmp_path / "a") as handle:
        assert os.listdir(handle) == ["b"]


def test_no_part_of_the_way_may_be_a_link(at: int, tmp_path: Path) -> None:
    (tmp_path / "real/below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    for path in ("link", "link/below"):
        with pytest.raises(OSError), handles.folder(path, at, make=0o755):
            pass
    with handles.folder(tmp_path / "link" / "below"):
        pass  # its own path is trusted
    with pytest.raises(OSError), handles.folder(tmp_path / "link"):
        pass  # but for the last part


def open_handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_handle_stays_open(at: int, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_text("x")
    before = open_handles()
    with handles.folder("a/b", at, make=0o755):
        pass
    for path in ("a/none/x", "file/x"):
        with pytest.raises(OSError), handles.folder(path, at):
            pass
    with pytest.raises(OSError):
        handles.open_file(at, "a")
    with pytest.raises(OSError):
        handles.find(at, "file/x", str(tmp_path), 0o755)
    os.close(handles.find(at, "a/b", str(tmp_path), 0o755))
    handles.remove_tree(at, "a")
    assert open_handles() == before


def test_a_folder_that_came_meanwhile_is_taken_as_it_is(at: int, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o700)
    os.close(handles.make_folder(at, "a", 0o777))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


# --- files ---


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "link on the way", "nothing"])
def test_what_is_no_regular_file_is_not_read(at: int, tmp_path: Path, kind: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("d/f")
    (tmp_path / "away").symlink_to("d")
    paths = {"folder": "d", "pipe": "pipe", "link": "link", "link on the way": "away/f"}
    with pytest.raises(OSError):
        handles.read_file(at, paths.get(kind, "nothing"), 9)
    with pytest.raises(OSError):
        handles.open_file(at, "")
    assert handles.read_file(at, "d/f", 9) == b"x"


def test_a_file_that_stands_there_keeps_its_place_and_has_what_is_new_alone(
    at: int, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("something longer")
    before = (tmp_path / "f").stat().st_ino
    handles.write_file(at, "f", b"new", 0o640)
    handles.write_file(at, "g", b"", 0o444, os.geteuid(), os.getegid())
    assert (tmp_path / "f").read_bytes() == b"new" and (tmp_path / "f").stat().st_ino == before
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "fg"] == [0o640, 0o444]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize(("user", "group"), [(7, 9), (7, -1), (-1, 9), (0, -1)])
def test_a_file_has_the_owner_that_is_asked_for(
    at: int, tmp_path: Path, user: int, group: int
) -> None:
    handles.write_file(at, "f", b"x", 0o4755, user, group)
    found = (tmp_path / "f").stat()
    assert (found.st_uid, found.st_gid) == (max(user, 0), max(group, 0))
    assert found.st_mode & 0o7777 == 0o4755, "a change of owner takes some bits away"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_regular_file_is_not_written_to(at: int, tmp_path: Path, kind: str) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError):
        handles.write_file(at, kind, b"new", 0o644)
    os.close(reader)
    assert (tmp_path / "kept").read_text() == "kept"


# --- finding ---


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """An open folder `root` with a file, a folder and links below it, and what is outside."""
    root = tmp_path / "root"
    (root / "d/e").mkdir(parents=True)
    (root / "d/f").write_text("file")
    (tmp_path / "outside").write_text("outside")
    links = {
        "to-file": "d/f",
        "d/up": "../d/e",
        "absolute": f"{root}/d",
        "itself": str(root),
        "beside": f"{root}-not/x",
        "out": "../outside",
        "far": "/etc",
        "loop": "loop",
        "d/e/far-up": "../../..",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield handle, root
    os.close(handle)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", ""),
        ("d", "d"),
        ("d/f", "d/f"),
        ("to-file", "d/f"),
        ("d/up", "d/e"),
        ("d/up/", "d/e"),
        ("absolute/e", "d/e"),
        ("itself/d/up", "d/e"),
        ("new/newer", "new/newer"),
        ("absolute/new", "d/new"),
    ],
)
def test_links_that_stay_inside_are_followed(
    house: tuple[int, Path], path: str, place: str
) -> None:
    at, root = house
    handle = handles.find(at, path, str(root), 0o750)
    assert os.fstat(handle).st_ino == (root / place).stat().st_ino
    os.close(handle)
    if "new" in place:
        assert (root / place).stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("out", errno.EXDEV),
        ("far", errno.EXDEV),
        ("beside", errno.EXDEV),
        ("d/e/far-up", errno.EXDEV),
        ("loop", errno.ELOOP),
        ("../outside", errno.EXDEV),
        ("d/f/x", errno.ENOTDIR),
    ],
)
def test_what_leads_outside_or_nowhere_is_not_found(
    house: tuple[int, Path], path: str, error: int
) -> None:
    at, root = house
    with pytest.raises(OSError) as refused:
        handles.find(at, path, str(root), 0o750)
    assert refused.value.errno == error


@pytest.mark.parametrize(("links", "is_found"), [(40, True), (41, False)])
def test_so_many_links_are_followed(house: tuple[int, Path], links: int, is_found: bool) -> None:
    at, root = house
    (root / "l0").symlink_to("d")
    for number in range(1, links):
        (root / f"l{number}").symlink_to(f"l{number - 1}")
    if is_found:
        os.close(handles.find(at, f"l{links - 1}", str(root), 0o750))
        return
    with pytest.raises(OSError, match="Too many levels"):
        handles.find(at, f"l{links - 1}", str(root), 0o750)


def test_so_many_parts_are_looked_up(
    house: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way up counts what leads there again: `d/..` is two parts, and none that are left."""
    monkeypatch.setattr(handles, "_STEPS", 6)
    at, root = house
    (root / "back").symlink_to("d/e/../..")  # back, d, e, .. with d left, .. with none: 6
    os.close(handles.find(at, "back", str(root), 0o750))
    monkeypatch.setattr(handles, "_STEPS", 5)
    with pytest.raises(OSError, match="Too many levels"):
        handles.find(at, "back", str(root), 0o750)


# --- removing folders ---


def test_a_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "f/a/b").mkdir(parents=True)
    (tmp_path / "f/x").write_text("x")
    handles.remove_folder(tmp_path / "f")
    handles.remove_folder(tmp_path / "f")
    assert os.listdir(tmp_path) == []


def test_a_tree_that_is_deeper_than_files_can_be_open_goes_too(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "_DEPTH", 2)
    before = open_handles()
    deep = tmp_path / "tree" / "/".join("abcdefgh")
    deep.mkdir(parents=True)
    for folder in (deep, *list(deep.parents)[:7]):
        (folder / "file").write_text("x")
    handles.remove_tree(at, "tree")
    assert os.listdir(tmp_path) == [] and open_handles() == before


def test_what_will_not_go_stays_and_the_rest_goes(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tree/a/x", "tree/b/y", "tree/c/z"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    unlink = os.unlink

    def refuse(name: str, *, dir_fd: int) -> None:
        if name in "yz":
            raise OSError(errno.EPERM, "it stays", name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(OSError, match="it stays") as refused:
        handles.remove_tree(at, "tree")
    assert refused.value.filename in ("y", "z")
    assert sorted(os.listdir(tmp_path / "tree")) == ["b", "c"]
    with pytest.raises(OSError, match="it stays"):
        handles.remove_folder(tmp_path / "tree")
    assert sorted(os.listdir(tmp_path / "tree")) == ["b", "c"]


def test_what_somebody_else_removes_meanwhile_is_gone(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/x").write_text("x")
    unlink = os.unlink

    def late(name: str, *, dir_fd: int) -> None:
        unlink(name, dir_fd=dir_fd)
        raise FileNotFoundError(name)

    monkeypatch.setattr(os, "unlink", late)
    handles.remove_tree(at, "tree")
    assert os.listdir(tmp_path) == []


def test_what_is_mounted_stays(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another mount has another number, whichever file system it is of."""
    (tmp_path / "tree/mounted").mkdir(parents=True)
    (tmp_path / "tree/mounted/kept").write_text("x")
    (tmp_path / "tree/gone").write_text("x")
    mounted = (tmp_path / "tree/mounted").stat().st_ino
    mount = handles._mount

    def other(handle: int) -> str:
        return "mnt_id: 7" if os.fstat(handle).st_ino == mounted else mount(handle)

    monkeypatch.setattr(handles, "_mount", other)
    with pytest.raises(OSError, match="something is mounted there"):
        handles.remove_tree(at, "tree")
    assert os.listdir(tmp_path / "tree") == ["mounted"]
    with handles.folder("tree", at) as tree, pytest.raises(OSError, match="is mounted there"):
        handles.remove_tree(tree, "mounted")
    assert (tmp_path / "tree/mounted/kept").exists() and mount(at).startswith("mnt_id:")
