"""Runs our client as a person at a terminal would: types lines, reads lines, ends the input."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO

from client_cases import ClientCase
from peers import REPO

CASE_TIMEOUT = 20.0
POLL_INTERVAL = 0.01


@dataclass
class Ended:
    """A client that has ended, by itself or at the time limit."""

    status: int
    lines: list[str]
    stderr: str
    overtime: bool


def drive(command: list[str], case: ClientCase) -> Ended:
    """Types the case's lines, waits for those that are due, then ends the input if that is the client's part."""
    deadline = time.monotonic() + CASE_TIMEOUT
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, cwd=REPO, start_new_session=True
        )
        assert process.stdin
        typed = "".join(f"{line}\n" for line in case.typed).encode()
        # In a thread, since a client that stopped reading would block us.
        typist = threading.Thread(target=type_into, args=(process.stdin, typed), daemon=True)
        typist.start()

        while process.poll() is None and time.monotonic() < deadline:
            if case.hangs_up and not typist.is_alive() and set(case.shown) <= set(lines_of(stdout)):
                process.stdin.close()
                break
            time.sleep(POLL_INTERVAL)
        overtime = not ends_by(process, deadline)
        typist.join()
        return Ended(process.returncode, lines_of(stdout), contents(stderr).decode(errors="replace"), overtime)


def type_into(stdin: IO[bytes], typed: bytes) -> None:
    try:
        stdin.write(typed)
        stdin.flush()
    except BrokenPipeError:
        pass  # The client has ended, which the case judges.


def ends_by(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Waits for the process to end by itself; kills its group otherwise."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def lines_of(file: IO[bytes]) -> list[str]:
    """The lines that are whole, and only a line feed ends one."""
    return contents(file).decode(errors="replace").split("\n")[:-1]


def contents(file: IO[bytes]) -> bytes:
    """The whole file, without moving the offset at which the child writes."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
