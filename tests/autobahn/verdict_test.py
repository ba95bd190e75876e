"""Each thing that the suite lets pass is a failure here."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

import cases
from verdict import MISSING, judge, judge_case


class VerdictTest(unittest.TestCase):
    def test_a_good_report_passes(self) -> None:
        self.assertEqual(faults("1.1.1", echo_report()), [])
        self.assertEqual(faults("2.5", failing_report(1002)), [])

    def test_a_bare_drop_fails(self) -> None:
        dropped: dict[str, Any] = {"remoteCloseCode": None, "rxFrameStats": {}, "wirelog": [], "wasClean": False}
        self.assertIn("Close with 1002 was due, got no code", faults("2.5", failing_report(1002) | dropped))

    def test_the_wrong_code_fails(self) -> None:
        self.assertIn("Close with 1007 was due, got 1002", faults("6.3.1", failing_report(1002)))

    def test_an_echoed_illegal_close_fails(self) -> None:
        report = echo_report() | {"wirelog": [frame(8, 126)], "remoteCloseCode": 1002}
        self.assertTrue(any("too long" in fault for fault in faults("7.3.6", report)))

    def test_a_connection_failed_by_the_suite_fails(self) -> None:
        self.assertEqual(len(faults("1.1.1", echo_report() | {"failedByMe": True})), 1)

    def test_a_handshake_that_never_succeeded_fails(self) -> None:
        unopened = {"behavior": "FAILED", "behaviorClose": "FAILED", "expectedClose": {}, "rxFrameStats": {}, "wirelog": []}
        self.assertTrue(faults("1.1.1", echo_report() | unopened))

    def test_non_strict_fails(self) -> None:
        self.assertEqual(len(faults("1.1.1", echo_report() | {"behavior": "NON-STRICT"})), 1)

    def test_informational_is_for_three_cases_only(self) -> None:
        informational = {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"}
        self.assertEqual(len(faults("1.1.1", echo_report() | informational)), 2)
        self.assertEqual(faults("7.1.6", echo_report() | informational), [])

    def test_illegal_frames_fail(self) -> None:
        for bad in (frame(1, 5, masked=True), frame(1, 5, rsv=4), frame(3, 0), frame(9, 1, fin=False), frame(8, 1)):
            report = echo_report() | {"wirelog": [bad]}
            self.assertEqual(len(faults("1.1.1", report)), 1, bad)
        self.assertEqual(len(faults("1.1.1", echo_report() | {"wirelog": [frame(8, 2), frame(1, 5)]})), 1)

    def test_a_client_must_mask(self) -> None:
        self.assertTrue(judge_case("1.1.1", echo_report(), "client").faults)

    def test_an_echo_sent_plain_fails_where_compression_is_tested(self) -> None:
        traffic = {"incomingOctetsAppLevel": 8192, "incomingOctetsWebSocketLevel": 8192, "incomingWebSocketMessages": 8}
        self.assertEqual(len(faults("12.1.5", echo_report() | {"trafficStats": traffic})), 1)
        traffic["incomingOctetsWebSocketLevel"] = 900
        self.assertEqual(faults("12.1.5", echo_report() | {"trafficStats": traffic}), [])

    def test_a_case_without_report_fails(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for index in (None, "{}", '{"somebody else": {}}'):
                if index is not None:
                    (Path(folder) / "index.json").write_text(index)
                verdicts = judge(Path(folder), "agent", "server", ["1.1.1", "1.1.2"])
                self.assertEqual([verdict.behavior for verdict in verdicts], [MISSING, MISSING])
                self.assertFalse(any(verdict.passed for verdict in verdicts))


class CasesTest(unittest.TestCase):
    def test_the_numbers_of_cases(self) -> None:
        for patterns, count in ((["*"], 517), (cases.DEFAULT, 301), (["9.*"], 54), (["12"], 90), (["13"], 126), (["1"], 16), (["7.1"], 6)):
            self.assertEqual(len(cases.matching(patterns)), count, patterns)

    def test_the_numbers_of_expected_codes(self) -> None:
        codes = list(cases.MUST_FAIL.values())
        self.assertEqual((codes.count([1002]), codes.count([1007]), len(codes)), (30, 75, 105))
        self.assertLessEqual({*cases.MUST_FAIL, *cases.ANSWERS_BAD_CLOSE}, set(cases.ALL))


def faults(case: str, report: dict[str, Any]) -> list[str]:
    return judge_case(case, report, "server").faults


def echo_report() -> dict[str, Any]:
    return {
        "description": "", "behavior": "OK", "behaviorClose": "OK", "result": "", "resultClose": "", "received": [],
        "failedByMe": False, "wasClean": True, "wasNotCleanReason": None, "trafficStats": None,
        "expectedClose": {"closedByMe": True}, "remoteCloseCode": 1000,
        "rxFrameStats": {"1": 1, "8": 1}, "wirelog": [["TF"], frame(1, 5), frame(8, 2)],
    }  # fmt: skip


def failing_report(code: int) -> dict[str, Any]:
    return echo_report() | {"expectedClose": {"closedByMe": False}, "remoteCloseCode": code}


def frame(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, masked: bool = False) -> list[Any]:
    """A received frame as the suite's wire log has it."""
    return ["RF", [length, "…"], opcode, fin, rsv, masked, None]


if __name__ == "__main__":
    unittest.main()
