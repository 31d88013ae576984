"""Local stand-ins for the repositories that Bazel would otherwise download."""

def _stand_in_impl(ctx):
    for path, text in ctx.attr.files.items():
        ctx.file(path, text)

_stand_in = repository_rule(
    implementation = _stand_in_impl,
    attrs = {"files": attr.string_dict(doc = "Path inside the repository -> its text.")},
)

def rules(name, path, symbols):
    """A rule set whose rules are Bazel 4's own.

    Args:
      name: name of the repository.
      path: package and name of the file that is loaded, such as `cc/defs`.
      symbols: the native rules that it exports.
    """
    _stand_in(
        name = name,
        files = {
            path.partition("/")[0] + "/BUILD": "",
            path + ".bzl": "".join(["{0} = native.{0}\n".format(symbol) for symbol in symbols]),
        },
    )

def python_rules(name):
    """The two files of rules_python that this repository loads.

    Args:
      name: name of the repository.
    """
    _stand_in(
        name = name,
        files = {
            "python/BUILD": "",
            "python/py_library.bzl": "py_library = native.py_library\n",
            "python/py_test.bzl": "py_test = native.py_test\n",
        },
    )

def installed_packages(name, packages):
    """One empty target a distribution: it names the dependency, and the interpreter finds the package.

    Args:
      name: name of the repository.
      packages: distributions that the interpreter already has, written with underscores.
    """
    _stand_in(
        name = name,
        files = {
            package + "/BUILD": 'py_library(name = "%s", visibility = ["//visibility:public"])\n' % package
            for package in packages
        },
    )

def no_coverage_tools(name):
    """What every test rule asks for and only `bazel coverage` would run.

    Args:
      name: name of the repository.
    """
    _stand_in(
        name = name,
        files = {"BUILD": 'filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])\n'},
    )
