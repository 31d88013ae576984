"""Runs pytest on the files named on the command line, from where Bazel put them."""

import sys

import pytest

sys.exit(pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]]))
