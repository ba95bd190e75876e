"""Opening handshakes that no library sends, written byte by byte."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

TIMEOUT = 10.0
RESPONSE_MAX = 16 * 1024
#: The sample nonce of RFC 6455 section 1.3 and the answer to it.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass
class Handshake:
    name: str
    status: int | range
    changes: dict[str, str | None] = field(default_factory=dict)  #: `None` leaves the header out.
    request_line: str = "GET / HTTP/1.1"
    answer: str = ""  #: A pattern that the response's head must hold.


HANDSHAKES = [
    Handshake("the sample of RFC 6455", 101, answer=rf"(?im)^sec-websocket-accept: *{re.escape(ACCEPT)}\r$"),
    Handshake("header names in another case", 101, {"Upgrade": None, "uPGRADE": "WebSocket"}),
    Handshake("Connection as a list", 101, {"Connection": "keep-alive, Upgrade"}),
    Handshake("the server's own Origin", 101, {"Origin": "http://{address}"}),
    Handshake("a foreign Origin", 403, {"Origin": "http://elsewhere.example"}),
    Handshake("the Origin of a sandboxed page", 403, {"Origin": "null"}),
    Handshake("another version", 426, {"Sec-WebSocket-Version": "8"}, answer=r"(?im)^sec-websocket-version: *13\r$"),
    Handshake("no version", range(400, 500), {"Sec-WebSocket-Version": None}),
    Handshake("no key", range(400, 500), {"Sec-WebSocket-Key": None}),
    Handshake("a key of 15 bytes", range(400, 500), {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j"}),
    Handshake("no Upgrade", range(400, 500), {"Upgrade": None}),
    Handshake("no Host", range(400, 500), {"Host": None}),
    Handshake("POST", range(400, 500), request_line="POST / HTTP/1.1"),
]


def fault_in(handshake: Handshake, address: str) -> str | None:
    """What is wrong in the server's answer."""
    head = exchange(request(handshake, address), address)
    status = re.match(r"HTTP/1\.1 (\d{3})\b", head)
    if not status:
        return f"no HTTP response but {head[:80]!r}"
    wanted = handshake.status if isinstance(handshake.status, range) else [handshake.status]
    if int(status[1]) not in wanted:
        return f"status {status[1]}, wanted {handshake.status}"
    if not re.search(handshake.answer, head):
        return f"/{handshake.answer}/ is missing in {head!r}"
    return None


def request(handshake: Handshake, address: str) -> bytes:
    headers: dict[str, str | None] = {
        "Host": "{address}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **handshake.changes,
    }
    lines = [f"{name}: {value.format(address=address)}\r\n" for name, value in headers.items() if value is not None]
    return f"{handshake.request_line}\r\n{''.join(lines)}\r\n".encode()


def exchange(request: bytes, address: str) -> str:
    """The head of the response, or as much as came."""
    host, _, port = address.rpartition(":")
    response = b""
    with socket.create_connection((host, int(port)), TIMEOUT) as stream:
        stream.sendall(request)
        try:
            while b"\r\n\r\n" not in response and len(response) < RESPONSE_MAX:
                if not (chunk := stream.recv(4096)):
                    break
                response += chunk
        except (TimeoutError, ConnectionResetError):
            pass
    return response.partition(b"\r\n\r\n")[0].decode("latin-1") + "\r\n"
