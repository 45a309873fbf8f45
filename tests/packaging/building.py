"""Building the wheel and the sdist."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

REPOSITORY = "https://code.example.org/health/ninezero"
"""The repository that the metadata of the tested distributions name."""


def run(*command: str | Path, cwd: Path, timeout: float = 120, **environment: str) -> str:
    """Runs a command that must succeed, without the settings of this process, and returns its output."""
    own = ("NINEZERO_", "PYTHON", "XDG_", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)} | environment
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
