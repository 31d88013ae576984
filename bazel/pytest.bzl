"""A test file run by pytest."""

load("@rules_python//python:py_test.bzl", "py_test")

def pytest_test(name, srcs, deps = []):
    """One test target a file; only what `deps` name can be imported from this repository.

    Args:
      name: name of the target.
      srcs: the test file.
      deps: what it imports.
    """
    py_test(
        name = name,
        srcs = srcs + ["//bazel:run_pytest.py"],
        main = "run_pytest.py",
        args = ["$(location %s)" % srcs[0]],
        data = ["//:pyproject.toml"] + native.glob(["*.tsv"], allow_empty = True),
        deps = deps + ["//tests:conftest"],
    )
