"""Runs an example in a process of its own."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(example, *arguments):
    """Status, standard output and standard error of `python -m examples.EXAMPLE ARGUMENTS`."""
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{example}", *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
