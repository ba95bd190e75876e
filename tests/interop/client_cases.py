"""What our client is put through: one path of the peers' servers for each case."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

MIB = 1 << 20
PIPELINED = 2_000
FLOOD = 10_000  # As in the peers' servers.


@dataclass
class ClientCase:
    name: str
    path: str
    typed: list[str] = field(default_factory=list)  #: Lines for the client's stdin.
    shown: list[str] = field(default_factory=list)  #: Lines due on its stdout, in order.
    nothing_else: bool = True  #: Whether other lines on stdout are a fault.
    arguments: list[str] = field(default_factory=list)
    hangs_up: bool = True  #: Whether stdin ends after the last line shown; otherwise the server ends it.
    clean: bool = True  #: Whether the exit status must be 0.
    stderr: str = r"closed 1000\b"
    code: int | None = 1000  #: In the Close that the server gets; 1006 without one; `None` where it can not tell.


def echoed(name: str, *lines: str) -> ClientCase:
    return ClientCase(name, "/echo", typed=list(lines), shown=list(lines))


def greeted(name: str, path: str, *lines: str, arguments: list[str] | None = None) -> ClientCase:
    return ClientCase(name, path, shown=list(lines), arguments=arguments or [])


CLIENT_CASES = [
    echoed("text and a close on end of input", "text"),
    echoed("an empty message", "before", "", "after"),
    echoed("unicode", "κόσμε 𝄞 ﷽ \U0010ffff ß"),
    echoed("1 MiB", "x" * MIB, "after"),
    echoed("pipelined", *(f"message {i}" for i in range(PIPELINED))),
    echoed("similar messages", *(json.dumps([{"id": i * j, "name": f"user {j}"} for j in range(20)]) for i in range(200))),
    greeted("fragmented inside a code point", "/fragmented", "fragmented κόσμε 𝄞"),
    ClientCase("binary", "/binary", shown=["after"], nothing_else=False),
    greeted("pings are answered, an unasked pong is ignored", "/ping", "three pongs"),
    greeted("a header of one's own", "/header", "a value", arguments=["--header", "X-Interop: a value"]),
    greeted("subprotocol", "/subprotocol", "chat", arguments=["--subprotocol", "chat"]),
    ClientCase("many messages, then a close", "/flood", shown=[f"message {i}" for i in range(FLOOD)], hangs_up=False),
    ClientCase("close with code and reason", "/close", hangs_up=False, stderr=r"closed 4001\b", code=4001),
    ClientCase("too big is 1009", "/too-big", hangs_up=False, clean=False, stderr=r"\b1009\b", code=1009),
    ClientCase("invalid UTF-8 is 1007", "/invalid-utf8", hangs_up=False, clean=False, stderr=r"\b1007\b", code=1007),
    ClientCase("a dropped connection", "/drop", hangs_up=False, clean=False, stderr="", code=None),
    ClientCase("a refused handshake", "/refused", hangs_up=False, clean=False, stderr=r"\b418\b", code=None),
]
