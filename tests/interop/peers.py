"""The libraries on the other side: their installation, once for each set of pins, and their commands."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]  # Paths on the command line are relative to it.
INSTALL_TIMEOUT = 300.0


class PeerMissing(Exception):
    """A peer can not be installed on this machine."""


@dataclass
class Peer:
    name: str
    interpreter: str
    suffix: str
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, side: str, *arguments: str) -> list[str]:
        """The command of the peer's `client` or `server` script."""
        return [self.interpreter, str(HERE / f"{self.name}_{side}.{self.suffix}"), *arguments]


def python(cache: Path) -> Peer:
    pins = HERE / "requirements.txt"

    def install(folder: Path) -> None:
        run([sys.executable, "-m", "venv", str(folder)], folder)
        run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--requirement", str(pins)], folder)

    folder = installed(cache / "interop-venv", [pins], install)
    return Peer("python", str(folder / "bin/python"), "py")


def node(cache: Path) -> Peer:
    interpreter = shutil.which("node")
    if not interpreter or not shutil.which("npm"):
        raise PeerMissing("node or npm is not on PATH")
    pins = [HERE / "package.json", HERE / "package-lock.json"]

    def install(folder: Path) -> None:
        folder.mkdir()
        for pin in pins:
            shutil.copy(pin, folder)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    folder = installed(cache / "interop-node", pins, install)
    return Peer("node", interpreter, "mjs", {"INTEROP_NODE": str(folder)})


PEERS: dict[str, Callable[[Path], Peer]] = {"python": python, "node": node}


def installed(parent: Path, pins: list[Path], install: Callable[[Path], None]) -> Path:
    """The folder of these pins, filled first when it is not there.

    A virtual environment knows its own path, so it is made in place; a file beside
    the folder says that it is whole.
    """
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()[:16]
    folder, whole = parent / digest, parent / f"{digest}.whole"
    if not whole.exists():
        print(f"installing into {folder}", flush=True)
        parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        install(folder)
        whole.touch()
    return folder


def run(command: list[str], folder: Path) -> None:
    cwd = folder if folder.is_dir() else folder.parent
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(str(error)) from None
    if done.returncode != 0:
        raise PeerMissing(f"{' '.join(command)}: {done.stderr.strip()[-1000:]}")
