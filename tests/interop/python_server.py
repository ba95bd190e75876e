"""Python `websockets` as a server: each path behaves in its own way, each end is a JSON line. The port may be given."""

from __future__ import annotations

import asyncio
import http
import json
import sys
from collections.abc import Awaitable, Callable, Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

MIB = 1 << 20
FLOOD = 10_000
# A final binary frame of 2^40 bytes: only the header is ever sent.
HUGE_HEADER = bytes([0x82, 0x7F]) + (1 << 40).to_bytes(8, "big")


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def fragmented(ws: ServerConnection) -> None:
    whole = "fragmented κόσμε 𝄞".encode()
    await ws.send([whole[i : i + 1] for i in range(len(whole))], text=True)
    await echo(ws)


async def binary(ws: ServerConnection) -> None:
    await ws.send(b"binary")
    await ws.send("after")
    await echo(ws)


async def ping(ws: ServerConnection) -> None:
    for payload in (b"", b"payload", bytes(125)):
        await (await ws.ping(payload))
    await ws.pong(b"unasked")
    await ws.send("three pongs")
    await echo(ws)


async def header(ws: ServerConnection) -> None:
    assert ws.request is not None
    await ws.send(ws.request.headers["X-Interop"])
    await echo(ws)


async def subprotocol(ws: ServerConnection) -> None:
    await ws.send(str(ws.subprotocol))
    await echo(ws)


async def flood(ws: ServerConnection) -> None:
    for i in range(FLOOD):
        await ws.send(f"message {i}")
    await ws.close(1000, "all sent")


async def close(ws: ServerConnection) -> None:
    await ws.close(4001, "done")


async def too_big(ws: ServerConnection) -> None:
    ws.transport.write(HUGE_HEADER)
    await echo(ws)


async def invalid_utf8(ws: ServerConnection) -> None:
    await ws.send(b"ab\xff", text=True)
    await echo(ws)


async def drop(ws: ServerConnection) -> None:
    ws.transport.abort()


BEHAVIOURS: dict[str, Callable[[ServerConnection], Awaitable[None]]] = {
    "/echo": echo,
    "/fragmented": fragmented,
    "/binary": binary,
    "/ping": ping,
    "/header": header,
    "/subprotocol": subprotocol,
    "/flood": flood,
    "/close": close,
    "/too-big": too_big,
    "/invalid-utf8": invalid_utf8,
    "/drop": drop,
}


async def handle(ws: ServerConnection) -> None:
    assert ws.request is not None
    path = ws.request.path
    try:
        await BEHAVIOURS[path](ws)
    except ConnectionClosed:
        pass
    await ws.wait_closed()
    received = ws.protocol.close_rcvd
    print(json.dumps({"path": path, "code": received.code if received else 1006}), flush=True)


def refuse(ws: ServerConnection, request: Request) -> Response | None:
    if request.path in BEHAVIOURS:
        return None
    return ws.respond(http.HTTPStatus.IM_A_TEAPOT, "no\n")


def select_subprotocol(ws: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """As `websockets` would, but a client that offers none is welcome."""
    return Subprotocol("chat") if "chat" in offered else None


async def main() -> None:
    server = serve(
        handle, "127.0.0.1", int(next(iter(sys.argv[1:]), 0)),
        process_request=refuse, select_subprotocol=select_subprotocol, max_size=2 * MIB,
    )  # fmt: skip
    async with server as running:
        address, port = next(iter(running.sockets)).getsockname()
        print(f"listening on {address}:{port}", flush=True)
        await asyncio.Future()


asyncio.run(main())
