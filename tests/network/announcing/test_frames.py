"""The bytes of claims and questions, as RFC 826 and 4861 have them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.network.announcing import frames
from tiphys.network.announcing.frames import AddressMessage

MAC, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FOUR, SIX = ipaddress.ip_address("192.0.2.9"), ipaddress.ip_address("fd00::1:2:9")
ASKER = {4: ipaddress.ip_address("192.0.2.1"), 6: ipaddress.ip_address("fd00::1")}


def test_a_claim_of_arp_is_a_request_for_ones_own_address() -> None:
    assert frames.claim(FOUR, MAC).hex() == (
        "ffffffffffff" "020000000001" "0806" "0001" "0800" "06" "04" "0001"
        "020000000001" "c0000209" "000000000000" "c0000209"
    )  # fmt: skip


def test_a_claim_of_ipv6_is_an_advertisement_to_all_nodes() -> None:
    frame = frames.claim(SIX, MAC)
    assert frame[:14].hex() == "33330000000102000000000186dd"
    packet = frame[14:]
    assert packet[6:8] == bytes([58, 255]) and packet[24:40].hex() == "ff02" + "0" * 27 + "1"
    body = packet[40:]
    assert body[0] == 136 and body[4] == 0x20 and body[8:24] == SIX.packed
    assert body[24:] == bytes([2, 1]) + MAC
    pseudo = packet[8:40] + len(body).to_bytes(4, "big") + bytes([0, 0, 0, 58])
    assert frames.checksum(pseudo + body) == 0


@pytest.mark.parametrize("address", [FOUR, SIX], ids=["arp", "ndp"])
def test_what_is_said_is_heard(address: frames.Address) -> None:
    nobody = ipaddress.ip_address("0.0.0.0" if address.version == 4 else "::")
    assert frames.read(frames.claim(address, MAC)) == AddressMessage(address, MAC, address, True)
    assert frames.read(frames.probe(address, MAC)) == AddressMessage(address, MAC, nobody, False)
    asked = AddressMessage(address, OTHER, ASKER[address.version], False)
    told = frames.read(frames.answer(asked, MAC))
    assert told == AddressMessage(address, MAC, address, True)
    assert frames.answer(asked, MAC)[:6] == OTHER


def test_a_question_by_nobody_about_an_ipv6_address_is_answered_to_all() -> None:
    heard = frames.read(frames.probe(SIX, OTHER))
    assert heard is not None and frames.answer(heard, MAC) == frames.claim(SIX, MAC)


def test_questions_about_an_ipv6_address_go_to_its_group() -> None:
    assert frames.probe(SIX, MAC)[:6] == frames.group_mac(SIX) == bytes.fromhex("3333ff020009")


def test_neighbour_discovery_that_came_through_a_router_is_not_heard() -> None:
    frame = bytearray(frames.claim(SIX, MAC))
    frame[14 + 7] = 254
    assert frames.read(bytes(frame)) is None


@given(st.binary(max_size=120))
def test_no_frame_is_too_odd_to_be_read(frame: bytes) -> None:
    for kind in (b"", b"\x08\x06", b"\x86\xdd"):
        heard = frames.read(frame[:12].ljust(12) + kind + frame[12:])
        assert heard is None or isinstance(heard, frames.AddressMessage)
