"""Writes the BUILD files from the sources: one target a module, whose `deps` are exactly what the module imports.

Run it after adding a module or an import (`make build-files`); a test fails where a BUILD file is stale.
"""

import argparse
import ast
import collections
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGES = ("keras_consistency", "tests", "tools")  # the folders that have BUILD files

# The folder of the tests that import each module with nothing but its `deps` in reach.
_IMPORT_TESTS = "bazel/imports"

# Import name -> name of the distribution, where they differ by more than a dash.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl_py",
    "art": "adversarial_robustness_toolbox",
    "imagecorruptions": "imagecorruptions_imaug",
    "sklearn": "scikit_learn",
}

# What reads the repository itself, or its examples and benchmarks: files that no target holds. Bazel leaves it out.
_UNSANDBOXED = {
    "tests.contracts.import_rule_test",
    "tests.docs_augmentation_test",
    "tests.docs_robustness_test",
    "tests.docs_stability_test",
    "tests.docs_test",
    "tests.examples.accuracy_test",
    "tests.examples.show_augmentations_test",
    "tests.examples.stabilize_test",
    "tests.examples.train_image_test",
    "tests.examples.train_regression_test",
    "tests.examples.train_robust_test",
    "tests.examples.train_segmentation_test",
    "tests.examples.train_text_test",
    "tests.examples.train_with_data_service_test",
    "tests.packaging_test",
    "tests.readme_test",
    "tests.stability.corpus_test",
    "tools.algorithms_page",
}


def modules(root=ROOT):
    """Every first-party module: dotted name -> path. A package goes by its own name, not by `__init__`."""
    found = {}
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source, name, is_package, known):
    """What a module imports, anywhere in it: inside functions, relative, or for type checking only.

    Args:
        source: the module's text.
        name: its dotted name.
        is_package: whether it is an `__init__.py`, from where relative imports start one level lower.
        known: the dotted names of all first-party modules: they tell `from package import module` from
            `from module import name`.

    Returns:
        Two sets: first-party modules by dotted name, and other distributions by name. The standard library is in
        neither.
    """
    own, others = set(), set()

    def add(target):
        top = target.partition(".")[0]
        if target in known:
            own.add(target)
        elif top not in _PACKAGES and top not in sys.stdlib_module_names:
            others.add(_DISTRIBUTIONS.get(top, top.lower()))

    for node in ast.walk(ast.parse(source, filename=name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: None if is_package and node.level == 1 else int(is_package) - node.level]
                base = ".".join(above + ([base] if base else []))
            members = {f"{base}.{alias.name}" for alias in node.names}
            submodules = members & set(known)
            for target in submodules:
                add(target)
            if submodules != members:
                add(base)
    own.discard(name)
    return own, others


def label(name, known):
    """The Bazel label of a module: `//its/folder:its_name`, or the folder alone where the target has its name."""
    folder, _, target = name.rpartition(".")
    if known[name].name == "__init__.py":
        return "//" + name.replace(".", "/")
    return f"//{folder.replace('.', '/')}:{target}"


def build_files(root=ROOT):
    """What the BUILD files should contain: path -> text."""
    known = modules(root)
    folders = collections.defaultdict(list)
    for name, path in known.items():
        if name in _UNSANDBOXED:
            continue
        own, others = imports(path.read_text(encoding="utf-8"), name, path.name == "__init__.py", known)
        deps = sorted(label(other, known) for other in own) + sorted(f"@pypi//{other}" for other in others)
        here = "//" + path.parent.relative_to(root).as_posix()
        deps = [dep.removeprefix(here) if dep.startswith(f"{here}:") else dep for dep in deps]
        folders[path.parent].append(_target(name.rpartition(".")[2], path.name, sorted(deps, key=_buildifier_order)))
    files = {folder / "BUILD": _file(targets) for folder, targets in folders.items()}
    return files | {root / _IMPORT_TESTS / "BUILD": _import_tests(known)}


def stale(root=ROOT):
    """The BUILD files that differ from what the sources say, and those of folders without sources."""
    wanted = build_files(root)
    present = {path for folder in (*_PACKAGES, _IMPORT_TESTS) for path in (root / folder).rglob("BUILD")}
    return sorted(
        path
        for path in present | set(wanted)
        if path not in wanted or path not in present or path.read_text(encoding="utf-8") != wanted[path]
    )


def _buildifier_order(dep):
    return (0 if dep.startswith(":") else 1 if dep.startswith("//") else 2, dep.replace(":", "!"))


def _target(name, source, deps):
    is_test = source.endswith("_test.py")
    lines = [f"{'pytest_test' if is_test else 'py_library'}(", f'    name = "{name}",', f'    srcs = ["{source}"],']
    if len(deps) == 1:
        lines.append(f'    deps = ["{deps[0]}"],')
    elif deps:
        lines += ["    deps = [", *(f'        "{dep}",' for dep in deps), "    ],"]
    return is_test, "\n".join([*lines, ")"])


def _file(targets):
    loads = []
    if any(is_test for is_test, _ in targets):
        loads.append('load("//bazel:pytest.bzl", "pytest_test")')
    if not all(is_test for is_test, _ in targets):
        loads.insert(0, 'load("@rules_python//python:py_library.bzl", "py_library")')
    blocks = ["\n".join(loads), 'package(default_visibility = ["//visibility:public"])']
    return "\n\n".join(blocks + [text for _, text in targets]) + "\n"


def _import_tests(known):
    tests = [
        f'import_test(\n    name = "{name}",\n    module = "{label(name, known)}",\n)'
        for name in sorted(known)
        if name.partition(".")[0] == "keras_consistency"
    ]
    return "\n\n".join(['load("//bazel:import_test.bzl", "import_test")', *tests]) + "\n"


def main():
    """Writes what is stale, or only names it with `--check`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a BUILD file is stale")
    check = parser.parse_args().check
    wanted = build_files()
    for path in stale():
        print(f"{'stale' if check else 'written' if path in wanted else 'removed'}: {path.relative_to(ROOT)}")
        if check:
            continue
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return int(check and bool(stale()))


if __name__ == "__main__":
    sys.exit(main())
