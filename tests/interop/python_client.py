"""Python `websockets` as a client of the echo server at the URL given; a line for each check."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

CHECK_TIMEOUT = 20.0
MIB = 1 << 20
UNICODE = "κόσμε 𝄞 ﷽ \U0010ffff \x00 ß"
PIPELINED = 10_000
SIMILAR = 200  # Messages that a context taken over makes small.
EXTENSIONS = sys.argv[2:]  # What has to be agreed on.
# A final binary frame of 2^40 bytes, masked with zeros: only the header is ever sent.
HUGE_HEADER = bytes([0x82, 0xFF]) + (1 << 40).to_bytes(8, "big") + bytes(4)


async def echo(url: str, *messages: str | bytes) -> None:
    async with connect(url, max_size=2 * MIB) as ws:
        for message in messages:
            await ws.send(message)
            expect(await ws.recv(), message)


async def text(url: str) -> None:
    await echo(url, "text")


async def binary(url: str) -> None:
    await echo(url, bytes(range(256)))


async def empty(url: str) -> None:
    await echo(url, "", b"")


async def one_mebibyte(url: str) -> None:
    await echo(url, "x" * MIB, bytes(range(256)) * (MIB // 256))


async def similar(url: str) -> None:
    async with connect(url) as ws:
        expect([extension.name for extension in ws.protocol.extensions], EXTENSIONS)
        for i in range(SIMILAR):
            message = json.dumps([{"id": i * j, "name": f"user {j}", "active": True} for j in range(20)])
            await ws.send(message)
            expect(await ws.recv(), message)


async def unicode(url: str) -> None:
    await echo(url, UNICODE)


async def fragmented(url: str) -> None:
    async with connect(url) as ws:
        await ws.send(["", "one ", "two ", "", "three"])
        expect(await ws.recv(), "one two three")
        await ws.send([b"\x00", b"\xff" * 70_000, b""])
        expect(await ws.recv(), b"\x00" + b"\xff" * 70_000)


async def fragmented_inside_a_code_point(url: str) -> None:
    whole = UNICODE.encode()
    async with connect(url) as ws:
        await ws.send([whole[i : i + 1] for i in range(len(whole))], text=True)
        expect(await ws.recv(), UNICODE)


async def ping_is_answered(url: str) -> None:
    async with connect(url) as ws:
        for payload in (b"", b"payload", bytes(125)):
            await (await ws.ping(payload))


async def unasked_pong_is_ignored(url: str) -> None:
    async with connect(url) as ws:
        await ws.pong(b"unasked")
        await ws.send("after")
        expect(await ws.recv(), "after")


async def subprotocol(url: str) -> None:
    async with connect(url, subprotocols=[Subprotocol("nobody.speaks.this"), Subprotocol("chat")]) as ws:
        expect(ws.subprotocol, "chat")


async def pipelined(url: str) -> None:
    async with connect(url) as ws:

        async def send_all() -> None:
            for i in range(PIPELINED):
                await ws.send(f"message {i}")

        sender = asyncio.create_task(send_all())
        for i in range(PIPELINED):
            expect(await ws.recv(), f"message {i}")
        await sender


async def close_with_code_and_reason(url: str) -> None:
    async with connect(url) as ws:
        await ws.close(4001, "bye 🙋")
        expect(received_close(ws), 4001)


async def close_without_code(url: str) -> None:
    async with connect(url) as ws:
        await ws.close()
        expect(received_close(ws), 1000)


async def too_big_is_1009(url: str) -> None:
    async with connect(url) as ws:
        ws.transport.write(HUGE_HEADER)
        await closed_by_peer(ws, 1009)


async def invalid_utf8_is_1007(url: str) -> None:
    async with connect(url) as ws:
        await ws.send(b"ab\xff", text=True)
        await closed_by_peer(ws, 1007)


async def foreign_origin_is_403(url: str) -> None:
    try:
        async with connect(url, origin=Origin("http://elsewhere.example")):
            raise AssertionError("the handshake went through")
    except InvalidStatus as refused:
        expect(refused.response.status_code, 403)


async def closed_by_peer(ws: ClientConnection, code: int) -> None:
    try:
        raise AssertionError(f"received {await ws.recv()!r:.80}")
    except ConnectionClosed:
        expect(received_close(ws), code)


def received_close(ws: ClientConnection) -> int | None:
    """The code in the peer's Close; `None` when it sent no Close."""
    close = ws.protocol.close_rcvd
    return close.code if close else None


def expect(got: Any, wanted: Any) -> None:
    if got != wanted:
        raise AssertionError(f"got {got!r:.80}, wanted {wanted!r:.80}")


CHECKS: list[Callable[[str], Awaitable[None]]] = [
    text, binary, empty, one_mebibyte, similar, unicode, fragmented, fragmented_inside_a_code_point,
    ping_is_answered, unasked_pong_is_ignored, subprotocol, pipelined,
    close_with_code_and_reason, close_without_code,
    too_big_is_1009, invalid_utf8_is_1007, foreign_origin_is_403,
]  # fmt: skip


async def main(url: str) -> None:
    for check in CHECKS:
        try:
            await asyncio.wait_for(check(url), CHECK_TIMEOUT)
            print(f"ok {check.__name__}", flush=True)
        except Exception as error:  # Whatever it is, it is this check's failure.
            print(f"FAILED {check.__name__}: {type(error).__name__} {error}", flush=True)


asyncio.run(main(sys.argv[1]))
