"""Who may import whom: a module imports strictly lower layers, and the BUILD files say the same."""

import re
import textwrap

import pytest

from tools import build_files

# Lowest first. A unit is a module or a whole subpackage; the units of one row do not import each other.
LAYERS = (
    {"ops"},
    {"embeddings", "labels", "parts"},
    {"clipping", "limits", "rebuilding", "schedules", "snapshots", "stability", "watch"},
    {
        "alignments",
        "augment",
        "banks",
        "bounds",
        "divergences",
        "forwards",
        "geometries",
        "losses",
        "metrics",
        "mixers",
        "perturbations",
        "regularization",
        "targets",
        "views",
        "weights",
    },
    {"balance", "batch", "datasets", "remote", "sources", "teachers"},
    {"looks"},
    {"consistency"},
    {"checks", "data", "serving"},
    {"heads", "model"},
    {"evaluation", "export", "recipes", "search"},
    {"report"},
    {"callbacks"},
)
# Every unit may import these, and they import nothing of the package.
FOUNDATION = {"_compat", "_requirements", "_version"}

KNOWN = build_files.modules()
PACKAGE = sorted(name for name in KNOWN if name.startswith("keras_consistency."))


def unit(module):
    return module.split(".")[1]


def height(module):
    """The layer of a module, -1 for the foundation, None where no table names it."""
    if unit(module) in FOUNDATION:
        return -1
    return next((row for row, units in enumerate(LAYERS) if unit(module) in units), None)


def violations(module, imported):
    """The imports of a module that the rule forbids."""

    def allowed(name):
        if name == "keras_consistency" or height(name) is None:
            return False
        siblings = unit(name) == unit(module) and unit(module) not in FOUNDATION
        return siblings or height(name) < height(module)

    return sorted(name for name in imported if not allowed(name))


def imports(source, name, *, is_package=False, known=()):
    return build_files.imports(textwrap.dedent(source), name, is_package, set(known))


@pytest.mark.parametrize("module", PACKAGE)
def test_module_imports_strictly_lower_layers(module):
    assert height(module) is not None, f"{module} is in no row of LAYERS: put it where what it imports is lower."
    path = KNOWN[module]
    own, _ = build_files.imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py", KNOWN)
    outside = {name for name in own if name.partition(".")[0] != "keras_consistency"}
    assert not outside, f"{module} imports {sorted(outside)}, which no wheel contains."
    assert not violations(module, own), f"{module} (layer {height(module)}) may not import these."


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("keras_consistency.schedules", "keras_consistency.targets"),
        ("keras_consistency.targets", "keras_consistency.weights"),
        ("keras_consistency.ops.norms", "keras_consistency"),
        ("keras_consistency.model", "keras_consistency.recipes.fixmatch"),
        ("keras_consistency._compat", "keras_consistency.ops.norms"),
        ("keras_consistency._compat", "keras_consistency._version"),
        ("keras_consistency.model", "keras_consistency.nobody"),
    ],
)
def test_rule_forbids_equal_and_higher_layers(module, imported):
    assert violations(module, {imported}) == [imported]


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("keras_consistency.targets", "keras_consistency.ops.probability"),
        ("keras_consistency.recipes.fixmatch", "keras_consistency.model"),
        ("keras_consistency.augment.image.rand_augment", "keras_consistency.augment.random_layer"),
        ("keras_consistency.ops.norms", "keras_consistency._compat"),
    ],
)
def test_rule_allows_lower_layers_and_the_own_subpackage(module, imported):
    assert violations(module, {imported}) == []


@pytest.mark.parametrize(
    ("source", "is_package", "expected"),
    [
        ("import tests.a.b", False, {"tests.a.b"}),
        ("import tests.a.b as c", False, {"tests.a.b"}),
        ("from tests.a import b", False, {"tests.a.b"}),
        ("from tests.a import b, NAME", False, {"tests.a.b", "tests.a"}),
        ("from tests.a.b import NAME", False, {"tests.a.b"}),
        ("from . import d", False, {"tests.a.d"}),
        ("from .d import NAME", False, {"tests.a.d"}),
        ("from .. import e", False, {"tests.e"}),
        ("from . import d", True, {"tests.a.c.d"}),
        ("from .. import b", True, {"tests.a.b"}),
        ("def f():\n    from tests.a import b", False, {"tests.a.b"}),
        ("if TYPE_CHECKING:\n    import tests.e", False, {"tests.e"}),
    ],
)
def test_imports_are_found_however_they_are_written(source, is_package, expected):
    known = {"tests.a", "tests.a.b", "tests.a.c", "tests.a.d", "tests.a.c.d", "tests.e"}
    assert imports(source, "tests.a.c", is_package=is_package, known=known) == (expected, set())


def test_imports_name_distributions_and_leave_out_the_standard_library():
    source = "import os, json.decoder\nimport tensorflow as tf\nfrom sklearn.datasets import load_digits\nimport PIL"
    assert imports(source, "tests.a") == (set(), {"tensorflow", "scikit_learn", "pillow"})


def test_build_files_declare_exactly_what_is_imported():
    assert not build_files.stale(), "Run `make build-files`, and commit what it writes."


def test_workspace_lists_every_distribution_that_build_files_name():
    workspace = (build_files.ROOT / "WORKSPACE").read_text(encoding="utf-8")
    named = {line for text in build_files.build_files().values() for line in re.findall(r'"@pypi//(\w+)"', text)}
    assert not {name for name in named if f'        "{name}",' not in workspace}


def test_undeclared_import_makes_a_build_file_stale(tmp_path):
    package = tmp_path / "keras_consistency"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("import keras\n")
    (package / "b.py").write_text("")
    for path, text in build_files.build_files(tmp_path).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert not build_files.stale(tmp_path)
    (package / "b.py").write_text("from keras_consistency import a\n")
    assert build_files.stale(tmp_path) == [package / "BUILD"]
    assert 'deps = [":a"]' in build_files.build_files(tmp_path)[package / "BUILD"]
