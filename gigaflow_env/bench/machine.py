"""Where and when a result was measured: a part of every line in benchmarks/results."""

import datetime
import os
import platform
import subprocess
import sys
from typing import Any

import numba
import numpy as np

from gigaflow_env.backend import cpu


def machine() -> dict[str, Any]:
    """Where and what was measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "processor": _processor(),
        "processors": cpu.default_threads(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "command": " ".join(["gigaflow-env", *sys.argv[1:]]),
    }


def _commit() -> str:
    """The checkout's commit, with a + where files differ from it; empty outside a checkout."""
    here = os.path.dirname(__file__)
    try:
        git = ["git", "-C", here]
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + ("+" if changed.strip() else "")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith(("model name", "model\t"))]
        return " model ".join(sorted({line.split(":")[1].strip() for line in lines}, key=len, reverse=True))
    except OSError:
        return platform.processor()
