"""Imports the module named on the command line, and makes sure that it is the one that Bazel laid out."""

import importlib
import os
import sys

place = importlib.import_module(sys.argv[1]).__file__
if not place.startswith(os.environ["TEST_SRCDIR"]):
    sys.exit(f"{sys.argv[1]} was imported from {place}, an installed copy: its target lacks the module itself.")
