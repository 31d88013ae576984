"""A module imported with nothing but its `deps` in reach."""

load("@rules_python//python:py_test.bzl", "py_test")

def import_test(name, module):
    """Fails where a module imports what its target does not name.

    Args:
      name: the dotted name of the module.
      module: its target.
    """
    py_test(
        name = name,
        srcs = ["//bazel:import_module.py"],
        main = "import_module.py",
        args = [name],
        deps = [module],
    )
