"""A client of several API servers asks the next one when one is away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.client.pretenders import Pretender, config, said
from tiphys.client.config import load
from tiphys.client.servers import Servers, watchful_socket
from tiphys.client.transport import Transport, Unreachable
from tiphys.cluster import kubeconfig


async def test_the_next_server_is_asked_when_one_is_away(
    three: list[Pretender], tmp_path: Path, plain_urls: None
) -> None:
    async with Transport(config(three, tmp_path)) as client:
        assert await said(client) == "a"
        await three[0].stop()
        await three[1].stop()
        assert await said(client, "POST") == "c"
        assert await said(client) == "c"


async def test_what_a_server_may_have_done_is_not_asked_of_another(
    three: list[Pretender], tmp_path: Path, plain_urls: None
) -> None:
    three[0].hangs_up = True
    async with Transport(config(three, tmp_path)) as client:
        with pytest.raises(Unreachable):
            await said(client, "POST")
        assert (three[0].heard, three[1].heard) == (1, 0)
        assert await said(client, "POST") == "b"


async def test_a_list_of_servers_is_read_when_it_is_needed(
    three: list[Pretender], tmp_path: Path, plain_urls: None
) -> None:
    wanted = config(three[:1], tmp_path)
    async with Transport(wanted) as client:
        assert await said(client) == "a"
        await three[0].stop()
        with pytest.raises(Unreachable):
            await said(client)
        config([three[0], three[2]], tmp_path)
        assert await said(client) == "c"


def test_who_notices_late_that_a_server_is_away_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "servers").write_text("b:1\nc:1\n")
    servers = Servers("https://a:1", tmp_path / "servers")
    for _ in range(5):
        servers.is_away("https://a:1")
    assert servers.current == "https://b:1"
    servers.is_away("https://b:1")
    servers.is_away("https://c:1")
    assert servers.current == "https://a:1"


def test_a_kubeconfig_of_ours_names_the_file_of_servers(tmp_path: Path) -> None:
    file, pem = tmp_path / "x.kubeconfig", tmp_path / "x.pem"
    kubeconfig.component(file, "https://a:1", pem, pem, pem, tmp_path / "servers")
    assert load(file).servers == tmp_path / "servers"
    kubeconfig.component(file, "https://a:1", pem, pem, pem)
    assert load(file).servers is None


def test_a_list_of_servers_that_is_not_there_is_empty(tmp_path: Path) -> None:
    alone = Servers("https://a:1", None)
    alone.is_away("https://a:1")
    assert (alone.current, alone.count, alone.are_many) == ("https://a:1", 1, False)
    absent = Servers("https://a:1", tmp_path / "none")
    absent.is_away("https://a:1")
    assert (absent.current, absent.count, absent.are_many) == ("https://a:1", 1, True)
    (tmp_path / "none").write_bytes(b"\xff")
    assert absent.known() == ["https://a:1"]


def test_a_server_that_is_no_longer_listed_is_followed_by_the_first(tmp_path: Path) -> None:
    file = tmp_path / "servers"
    file.write_text("b:1\na:1\nb:1\n")
    servers = Servers("https://a:1", file)
    assert servers.known() == ["https://a:1", "https://b:1"] and servers.count == 2
    servers.is_away("https://a:1")
    file.write_text("c:1\n")
    servers.is_away("https://c:1")
    assert servers.current == "https://b:1", "it is not the one that is asked"
    servers.is_away("https://b:1")
    assert servers.current == "https://a:1"


def test_a_connection_finds_out_that_its_other_end_is_gone() -> None:
    family, kind = socket.AF_INET, socket.SOCK_STREAM
    with watchful_socket((family, kind, 0, "", ("127.0.0.1", 1))) as made:
        assert made.family == family and made.type == kind
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [made.getsockopt(socket.IPPROTO_TCP, option) for option in tcp] == [5, 2, 2]
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
