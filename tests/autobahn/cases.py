"""The suite's cases, from `cases.json`, and what the peer must answer, from `expected_close.json`."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
_CASES = json.loads((HERE / "cases.json").read_text())
_CLOSE = json.loads((HERE / "expected_close.json").read_text())

#: Every case of the suite, in its order: `2.1` … `2.11`, `6.22.1` … `6.22.34`.
ALL: list[str] = [f"{subgroup}.{n}" for subgroup, count in _CASES["subgroups"].items() for n in range(1, count + 1)]

#: Patterns of the cases run when none are named.
DEFAULT: list[str] = _CASES["default"]

#: Cases whose outcome RFC 6455 leaves open.
INFORMATIONAL: frozenset[str] = frozenset(_CASES["informational"])

#: Case → codes of which the peer's Close must hold one, where the peer fails the connection.
MUST_FAIL: dict[str, list[int]] = _CLOSE["must_fail"]

#: As `MUST_FAIL`, where the suite sends a Close that is itself illegal.
ANSWERS_BAD_CLOSE: dict[str, list[int]] = _CLOSE["answers_bad_close"]


def matching(patterns: list[str]) -> list[str]:
    """The cases which any pattern names: a case, or a group with or without `.*`."""
    stems = [pattern.strip().removesuffix("*").removesuffix(".") for pattern in patterns]
    return [case for case in ALL if any(case == stem or case.startswith(f"{stem}.") or not stem for stem in stems)]


def may_compress(case: str) -> bool:
    """Whether the case offers permessage-deflate, so that RSV1 is legal on data."""
    return case.split(".")[0] in _CASES["compressed"]
