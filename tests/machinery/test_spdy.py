"""SPDY frames."""

from __future__ import annotations

from tiphys.machinery.spdy import SPDYClient


def test_spdy_frames_come_back_whole_from_any_cut() -> None:
    stream, opening = SPDYClient().open({"streamType": "stdout"})
    wire = (
        SPDYClient.data(stream, b"hello")
        + SPDYClient.data(stream, b"", end=True)
        + SPDYClient.pong(b"\0\0\0\1")
    )
    for cut in range(len(wire)):
        client = SPDYClient()
        events = client.feed(wire[:cut]) + client.feed(wire[cut:])
        assert [(e.kind, e.data) for e in events] == [
            ("data", b"hello"),
            ("end", b""),
            ("ping", b"\0\0\0\1"),
        ]
    assert opening[:4] == b"\x80\x03\x00\x01"
