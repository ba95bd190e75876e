"""Child processes with a log file, a deadline and a certain end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

POLL_INTERVAL = 0.02
TERM_GRACE = 2.0


class OverTime(Exception):
    """A process did not do in time what was waited for."""


class Job:
    """A child in a process group of its own, killed with all its own children on leaving the `with`."""

    def __init__(self, name: str, command: list[str], log: Path, cwd: Path, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=cwd, env={**os.environ, **(environment or {})}, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(TERM_GRACE)
        except subprocess.TimeoutExpired:
            pass
        self.signal(signal.SIGKILL)
        self.process.wait()

    def exited(self) -> bool:
        return self.process.poll() is not None

    def wait(self, deadline: float) -> int:
        """The exit status; `OverTime` past the deadline on the monotonic clock."""
        try:
            return self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise OverTime(f"{self.name} still ran at the time limit") from None

    def wait_for(self, pattern: str, seconds: float) -> str:
        """The first group of the pattern, as soon as the log holds it."""
        deadline = time.monotonic() + seconds
        while True:
            exited = self.exited()  # Before reading, so that a last line is not missed.
            found = re.search(pattern, self.log.read_text(errors="replace"))
            if found:
                return found[1]
            if exited:
                raise OverTime(f"{self.name} exited with {self.process.returncode} before printing /{pattern}/")
            if time.monotonic() > deadline:
                raise OverTime(f"{self.name} did not print /{pattern}/ in {seconds:.0f} s")
            time.sleep(POLL_INTERVAL)

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass
