"""Judges one role's reports, more strictly than the suite's own colours do.

The suite calls a case passed when the peer drops TCP where a Close was due, when
the peer sends an illegal frame that comes after the decision, and when nothing
connected at all. So a case passes here only if its report exists and
- behaviour and close behaviour are OK, or INFORMATIONAL where the case is;
- the suite did not fail the connection, which it does on an illegal frame or on silence;
- the closing handshake was completed;
- the peer's frames are legal one by one, with exactly one Close, as the last;
- that Close holds the code of `expected_close.json`, where the peer must fail the connection;
- an echo of a large message came back compressed, in the groups about compression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cases

MISSING = "MISSING"  # In place of a behaviour, when the case has no report.
CLOSE = 8
CONTROL = range(8, 16)
OPCODES = {0, 1, 2, 8, 9, 10}
CONTROL_PAYLOAD_MAX = 125  # RFC 6455 section 5.5.
RSV1 = 4
COMPRESSIBLE_MIN = 1024  # Bytes of a message which every peer finds worth compressing.


@dataclass
class Verdict:
    case: str
    description: str
    behavior: str
    behavior_close: str
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.faults


def judge(reports: Path, agent: str, role: str, selected: list[str]) -> list[Verdict]:
    """A verdict for each selected case, and one for each report that nobody asked for."""
    index_path = reports / "index.json"
    index: dict[str, dict[str, Any]] = json.loads(index_path.read_text()) if index_path.exists() else {}
    entries = index.get(agent, {})
    verdicts = []
    for case in selected:
        if case in entries:
            report = json.loads((reports / entries[case]["reportfile"]).read_text())
            verdicts.append(judge_case(case, report, role))
        else:
            verdicts.append(Verdict(case, "", MISSING, MISSING, ["no report"]))
    strays = [(a, c) for a, reported in index.items() for c in reported if a != agent or c not in selected]
    verdicts += [Verdict(c, f"agent {a}", "STRAY", "STRAY", ["a report that nobody asked for"]) for a, c in strays]
    return verdicts


def judge_case(case: str, report: dict[str, Any], role: str) -> Verdict:
    description = re.sub(r"<[^>]*>|\s+", " ", report["description"]).strip()
    faults = [
        *behavior_faults(case, report),
        *close_faults(case, report),
        *frame_faults(case, report, role),
        *compression_faults(case, report),
    ]
    return Verdict(case, description[:120], report["behavior"], report["behaviorClose"], faults)


def behavior_faults(case: str, report: dict[str, Any]) -> Iterator[str]:
    wanted = "INFORMATIONAL" if case in cases.INFORMATIONAL else "OK"
    if report["behavior"] != wanted:
        yield f"behaviour {report['behavior']} ({report['result']} Received: {str(report['received'])[:200]})"
    if report["behaviorClose"] != wanted:
        yield f"close {report['behaviorClose']} ({report['resultClose']})"


def close_faults(case: str, report: dict[str, Any]) -> Iterator[str]:
    if report["failedByMe"]:
        yield "the suite had to fail the connection: an illegal frame, or no answer in time"
    if not report["wasClean"]:
        yield f"no completed closing handshake ({report['wasNotCleanReason']})"
    codes = cases.MUST_FAIL.get(case) or cases.ANSWERS_BAD_CLOSE.get(case)
    if codes and report["remoteCloseCode"] not in codes:
        got = report["remoteCloseCode"] or "no code"
        yield f"Close with {' or '.join(map(str, codes))} was due, got {got}"
    expected = report["expectedClose"]  # Empty when the opening handshake did not succeed.
    if expected and (not expected["closedByMe"]) != (case in cases.MUST_FAIL):
        yield "expected_close.json and the suite differ on who must fail the connection"


def frame_faults(case: str, report: dict[str, Any], role: str) -> Iterator[str]:
    """What is illegal in the frames that the peer sent, as far as the suite logged them."""
    # In group 9 only the closing frames are logged; the counters know them all.
    closes = report["rxFrameStats"].get(str(CLOSE), 0)
    if closes != 1:
        yield f"{closes} Close frames where one was due"
    closed = False
    for event in report["wirelog"]:
        if event[0] != "RF":
            continue
        (length, _), opcode, fin, rsv, masked = event[1:6]
        frame = f"a frame with opcode {opcode} and {length} bytes"
        if closed:
            yield f"{frame} after the Close"
        if opcode not in OPCODES:
            yield f"{frame}: reserved opcode"
        if opcode in CONTROL and (length > CONTROL_PAYLOAD_MAX or not fin):
            yield f"{frame}: a control frame too long or fragmented"
        if opcode == CLOSE and length == 1:
            yield f"{frame}: half a close code"
        if rsv and not (rsv == RSV1 and opcode in (1, 2) and cases.may_compress(case)):
            yield f"{frame}: reserved bits {rsv}"
        if masked != (role == "client"):
            yield f"{frame}: {'masked' if masked else 'not masked'} by the {role}"
        closed = closed or opcode == CLOSE


def compression_faults(case: str, report: dict[str, Any]) -> Iterator[str]:
    """That the echo came back compressed: the suite compares only what was inflated."""
    traffic = report["trafficStats"]
    if not cases.may_compress(case) or not traffic:
        return
    size = traffic["incomingOctetsAppLevel"]
    if size >= COMPRESSIBLE_MIN * traffic["incomingWebSocketMessages"] and traffic["incomingOctetsWebSocketLevel"] == size:
        yield f"none of {size} bytes of echo were compressed"
