"""The implementations in Python: reads cases as lines of JSON, writes what each implementation makes of them.

A case of frames is {"name": …, "role": …, "bytes": HEX}, for one implementation; one of a handshake is {"request": HEX} for a server, {"response": HEX} for a client, with
ACCEPT in place of the value that fits its key.
"""

from __future__ import annotations

import json
import sys

import wsproto.events
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import OPEN, Protocol, Side
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from websockets.utils import accept_key
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.utilities import RemoteProtocolError


def main() -> None:
    for line in sys.stdin:
        case = json.loads(line)
        if "request" in case:
            answer = {"websockets": accepts(bytes.fromhex(case["request"]))}
        elif "response" in case:
            answer = {"websockets": is_accepted(bytes.fromhex(case["response"]))}
        else:
            role, data = case["role"], bytes.fromhex(case["bytes"])
            answer = {"websockets": websockets_verdict, "wsproto": wsproto_verdict}[case["name"]](role, data)
        print(json.dumps(answer))


def websockets_verdict(role: str, data: bytes) -> dict:
    protocol = Protocol(Side.SERVER if role == "Server" else Side.CLIENT, state=OPEN, max_size=16 << 20)
    protocol.receive_data(data)
    protocol.receive_eof()
    messages, parts, is_text = [], [], None
    end = None
    for frame in protocol.events_received():
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                is_text, parts = frame.opcode is Opcode.TEXT, []
            parts.append(frame.data)
            if frame.fin:
                payload = b"".join(parts)
                if is_text:
                    # Its connections leave the check of text to this layer.
                    try:
                        payload.decode()
                    except UnicodeDecodeError:
                        end = ["failed", 1007]
                        break
                messages.append([is_text, payload.hex()])
        elif frame.opcode is Opcode.CLOSE:
            end = ["closed", protocol.close_rcvd.code if protocol.close_rcvd and frame.data else None]
            break
    if end is None:
        failed = protocol.close_sent and protocol.parser_exc and not isinstance(protocol.parser_exc, EOFError)
        end = ["failed", protocol.close_sent.code] if failed else ["eof", None]
    return {"messages": messages, "end": end}


def wsproto_verdict(role: str, data: bytes) -> dict:
    connection = Connection(ConnectionType.SERVER if role == "Server" else ConnectionType.CLIENT)
    messages, parts = [], []
    end = ["eof", None]
    try:
        connection.receive_data(data)
        for event in connection.events():
            if isinstance(event, (wsproto.events.TextMessage, wsproto.events.BytesMessage)):
                is_text = isinstance(event, wsproto.events.TextMessage)
                parts.append(event.data.encode() if is_text else bytes(event.data))
                if event.message_finished:
                    messages.append([is_text, b"".join(parts).hex()])
                    parts = []
            elif isinstance(event, wsproto.events.CloseConnection):
                code = int(event.code)
                # It reports faults as if the peer had closed, but its state does not change.
                failed = connection.state is ConnectionState.OPEN
                end = ["failed", code] if failed else ["closed", None if code == 1005 else code]
                break
    except RemoteProtocolError as error:
        hint = error.event_hint
        end = ["failed", int(hint.code) if hint is not None else 1002]
    return {"messages": messages, "end": end}


def accepts(data: bytes) -> bool:
    protocol = ServerProtocol()
    protocol.receive_data(data)
    requests = protocol.events_received()
    if not requests:
        return False
    protocol.send_response(protocol.accept(requests[0]))
    return protocol.handshake_exc is None and protocol.state is OPEN


def is_accepted(data: bytes) -> bool:
    protocol = ClientProtocol(parse_uri("ws://localhost/"))
    protocol.send_request(protocol.connect())
    protocol.receive_data(data.replace(b"ACCEPT", accept_key(protocol.key).encode()))
    protocol.receive_eof()
    return protocol.handshake_exc is None and protocol.state is not None and protocol.handshake_exc is None and bool(
        protocol.events_received()
    )


if __name__ == "__main__":
    main()
