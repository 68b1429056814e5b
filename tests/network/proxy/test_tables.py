"""Tables of the kernel: two names, one of which is in force, and what stands in each."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.network.attributes import parsed
from tiphys.network import nft as nft_module
from tiphys.network.nft import NftError, nft
from tiphys.network.proxy import flows
from tiphys.network.proxy.endpoints import Endpoint
from tiphys.network.proxy.kernel import KernelTable, families
from tiphys.network.proxy.rules import Drop, Flow
from tiphys.network.proxy.script import base, removal
from tiphys.network.proxy.table import Change, Changes
from tiphys.network.proxy.wire import IPV4, IPV6

SOME = Changes(chains=[Change("c", None, (Drop(),))])


class Kernel:
    """Remembers which tables there are, and what it was told, in short."""

    def __init__(self, *tables: str) -> None:
        self.tables = set(tables)
        self.told: list[str] = []

    def script(self, text: str) -> None:
        for line in text.splitlines():
            if line.startswith("delete table ip "):
                name = line.split()[-1]
                self.tables.discard(name)
                self.told.append(f"delete {name}")
            elif line.startswith("table ip "):
                self.tables.add(line.split()[2])
                self.told.append(f"write {line.split()[2]}")

    def transact(self, messages: list[bytes]) -> None:
        table = parsed(messages[0])[3][1]
        self.told.append(f"{'touch' if parsed(messages[0])[1] == 1 else 'change'} {table}")
        if table not in self.tables:
            raise OSError(2, "no such table")


def table_of(kernel: Kernel) -> KernelTable:
    return KernelTable(IPV4, "t", ["10.1.0.0/16"], ["10.96.0.0/16"], kernel)


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ([], ["touch t", "touch t-2", "delete t", "write t", "change t"]),
        (["t"], ["touch t", "delete t-2", "write t-2", "change t-2", "delete t"]),
        (["t-2"], ["touch t", "touch t-2", "delete t", "write t", "change t", "delete t-2"]),
        (["t", "t-2"], ["touch t", "delete t-2", "write t-2", "change t-2", "delete t"]),
    ],
)
def test_a_whole_table_is_written_beside_the_one_in_force(
    there: list[str], told: list[str]
) -> None:
    kernel = Kernel(*there)
    table_of(kernel).replace(SOME)
    assert kernel.told == told and len(kernel.tables) == 1


def test_the_names_take_turns() -> None:
    kernel = Kernel()
    table = table_of(kernel)
    standing = []
    for _ in range(3):
        table.replace(SOME)
        standing += kernel.tables
    assert standing == ["t", "t-2", "t"]
    kernel.told.clear()
    table.change(SOME)
    table.change(Changes())
    assert kernel.told == ["change t", "touch t"]
    kernel.tables.clear()
    with pytest.raises(OSError):
        table.change(Changes())  # somebody has taken it away
    table.remove()
    assert kernel.told[-2:] == ["delete t", "delete t-2"]


@pytest.mark.parametrize(
    ("networks", "found"),
    [
        ("", {}),
        ("10.1.0.0/16", {IPV4: ["10.1.0.0/16"]}),
        ("fd00::/64,10.1.0.0/16,", {IPV6: ["fd00::/64"], IPV4: ["10.1.0.0/16"]}),
        ("10.1.0.0/16,10.2.0.0/16", {IPV4: ["10.1.0.0/16", "10.2.0.0/16"]}),
    ],
)
def test_networks_by_version(networks: str, found: dict[Any, list[str]]) -> None:
    assert families(networks) == found


@pytest.mark.parametrize(
    ("family", "lines"),
    [
        (
            IPV4,
            [
                "table ip t {",
                "map services { type inet_proto . ipv4_addr . inet_service : verdict; }",
                "set pods { type ipv4_addr; flags interval; elements = { 10.1.0.0/16 }; }",
                "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @nodeports",
                "meta mark & 0x4000 == 0x4000 masquerade",
                "ip saddr { 10.1.0.0/16 } ip daddr != { 10.1.0.0/16, 10.96.0.0/16 } fib daddr type != local masquerade",
            ],
        ),
        (
            IPV6,
            [
                "table ip6 t {",
                "map endpoints { type mark : ipv6_addr . inet_service; }",
                "fib daddr type local ip6 daddr != ::1 meta l4proto . th dport vmap @nodeports",
                'iifname != "lo" ip6 daddr ::1 ct state new drop',
            ],
        ),
    ],
)  # fmt: skip
def test_the_fixed_part_is_of_one_version(family: Any, lines: list[str]) -> None:
    text = base(family, "t", ["10.1.0.0/16"], ["10.96.0.0/16"])
    shown = [line.strip() for line in text.splitlines()]
    assert not set(lines) - set(shown)
    assert text.count("{") == text.count("}")


def test_a_table_goes_whether_or_not_it_is_there() -> None:
    assert removal(IPV4, "t") == "add table ip t\ndelete table ip t\n"
    assert removal(IPV6, "t") == "add table ip6 t\ndelete table ip6 t\n"


# --- flows ---

A, B = Endpoint("10.1.0.1", 53), Endpoint("10.1.0.2", 53)
WAY = Flow("10.96.0.10", 53)
ALL = ("-p", "udp", "--orig-dst", "10.96.0.10", "--orig-port-dst", "53")


@pytest.mark.parametrize(
    ("old", "new", "selections"),
    [
        (None, None, []),
        ({A}, {A}, []),
        ({A}, {A, B}, []),
        ({A, B}, {A}, [(*ALL, "--reply-src", "10.1.0.2", "--reply-port-src", "53")]),
        ({A}, set(), [(*ALL, "--reply-src", "10.1.0.1", "--reply-port-src", "53")]),
        ({A}, None, [(*ALL, "--reply-src", "10.1.0.1", "--reply-port-src", "53")]),
        (None, {A}, [ALL]),  # what came before went nowhere
        (set(), {A}, [ALL]),
        (set(), set(), []),
    ],
)
def test_which_flows_of_udp_are_stale(
    old: set[Endpoint] | None, new: set[Endpoint] | None, selections: list[tuple[str, ...]]
) -> None:
    sets = [None if one is None else frozenset(one) for one in (old, new)]
    assert list(flows.stale([Change(WAY, *sets)])) == selections


@pytest.mark.parametrize(("gone", "count"), [(16, 16), (17, 1)])
def test_many_endpoints_that_go_are_forgotten_at_once(gone: int, count: int) -> None:
    many = frozenset(Endpoint(f"10.1.0.{number}", 53) for number in range(gone))
    assert len(list(flows.stale([Change(Flow("", 30053), many, None)]))) == count


def test_flows_at_any_address_are_of_a_port_alone() -> None:
    [selection] = flows.stale([Change(Flow("", 30053), None, frozenset((A,)))])
    assert selection == ("-p", "udp", "--orig-port-dst", "30053")


@pytest.mark.parametrize("error", [None, FileNotFoundError(), subprocess.TimeoutExpired("x", 1)])
def test_flows_are_forgotten_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        ran.append(command)
        if error is not None:
            raise error

    monkeypatch.setattr(flows.subprocess, "run", run)
    flows.forget(6, [("a",), ("b",)])
    assert ran == [["conntrack", "-D", "-f", "ipv6", word] for word in "ab"]


# --- nft ---


@pytest.mark.parametrize(("code", "words"), [(0, ""), (1, "no such table")])
def test_a_script_is_one_transaction(
    monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    ran: list[Any] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        ran.append((command, options["input"], options["timeout"]))
        return subprocess.CompletedProcess(command, code, "", f" {words}\n")

    monkeypatch.setattr(nft_module.subprocess, "run", run)
    if code:
        with pytest.raises(NftError, match=f"^{words}$"):
            nft("text")
    else:
        nft("text")
    assert ran == [(["nft", "-f", "-"], "text", 60)]
