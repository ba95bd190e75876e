"""Finds Python 2.7 and installs the suite for it, once for each content of requirements.txt."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
INSTALL_TIMEOUT = 600.0
PROBE = "import sys, ssl, pip, setuptools; assert sys.version_info[:2] == (2, 7); print(sys.executable)"


class SuiteMissing(Exception):
    """The suite can not be run on this machine."""


@dataclass
class Suite:
    """An installed suite: an interpreter and the folder of its packages."""

    python: str
    packages: Path

    @classmethod
    def installed(cls, cache: Path, echo: Callable[[str], None]) -> Suite:
        """The suite from the cache, installed there first when it is not."""
        python = find_python()
        packages = cache.resolve() / hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
        if not packages.is_dir():
            echo(f"installing the suite into {packages}")
            install(python, packages)
        return cls(python, packages)

    def command(self, mode: str, spec: Path) -> list[str]:
        return [self.python, "-B", str(HERE / "wstest.py"), str(self.packages), "--mode", mode, "--spec", str(spec), "--webport", "0"]


def find_python() -> str:
    """The path of a Python 2.7 with pip, setuptools and ssl."""
    for candidate in python_candidates():
        try:
            probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if probe.returncode == 0:
            return probe.stdout.strip()
    raise SuiteMissing("it needs Python 2.7 with pip, setuptools and ssl, as python2.7 on PATH or from pyenv")


def python_candidates() -> Iterator[str]:
    for name in ("python2.7", "python2"):
        if path := shutil.which(name):
            yield path
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True))


def install(python: str, packages: Path) -> None:
    """Installs beside the goal and renames: a folder at the goal is always whole."""
    packages.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=packages.parent) as scratch:
        target = Path(scratch) / "packages"
        pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        try:
            done = subprocess.run(
                [*pip, "--target", str(target), "--requirement", str(REQUIREMENTS)],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_TIMEOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SuiteMissing(f"pip took more than {INSTALL_TIMEOUT:.0f} s") from None
        if done.returncode != 0:
            raise SuiteMissing(f"pip failed:\n{done.stderr.strip()[-2000:]}")
        try:
            target.rename(packages)
        except OSError:
            if not packages.is_dir():  # Otherwise another run was first, with the same pins.
                raise
