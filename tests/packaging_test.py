"""The wheel holds the whole package, declares what it imports, and says in one sentence what is missing."""

import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from keras_consistency.evaluation import extras
from tools import build_files

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a build reads: a copy, so that it neither finds nor leaves anything in the source tree.
BUILD_INPUTS = ("keras_consistency", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILD_INPUTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", target, source], check=True)
    (built,) = target.glob("*.whl")
    return built


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def run(code, *, path, **environment):
    """Runs code in a fresh interpreter that finds the package in `path` only."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=path,
        env=os.environ | {"PYTHONPATH": str(path), "TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        capture_output=True,
        text=True,
    )


def test_wheel_holds_every_module_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "keras_consistency").rglob("*.py")}
    assert packed == modules


def test_wheel_holds_the_license(wheel):
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


def test_wheel_declares_every_distribution_that_the_package_imports(wheel):
    required = metadata(wheel).get_all("Requires-Dist")
    declared = {re.match(r"[\w.-]+", line)[0].lower().replace("-", "_") for line in required}
    known = build_files.modules()
    for name, path in known.items():
        if name.partition(".")[0] == "keras_consistency":
            _, imported = build_files.imports(path.read_text(encoding="utf-8"), name, path.stem == "__init__", known)
            assert imported <= declared, f"{name} imports what pyproject.toml does not declare."


def test_tensorflow_is_an_extra_only(wheel):
    required = metadata(wheel).get_all("Requires-Dist")
    assert {"tensorflow", "tensorflow-cpu"} <= set(metadata(wheel).get_all("Provides-Extra"))
    assert not [line for line in required if line.startswith("tensorflow") and "extra ==" not in line]


def test_extra_that_an_evaluation_asks_for_brings_what_it_needs(wheel):
    required = [line for line in metadata(wheel).get_all("Requires-Dist") if 'extra == "robustness"' in line]
    assert {re.match(r"[\w.-]+", line)[0] for line in required} == set(extras.PACKAGES.values())


def test_installed_wheel_imports_whole(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    names = sorted(name for name in build_files.modules() if name.partition(".")[0] == "keras_consistency")
    code = f"import importlib\nfor name in {names!r}: print(importlib.import_module(name).__file__)"
    result = run(code, path=tmp_path)
    assert result.returncode == 0, result.stderr
    places = result.stdout.split()
    assert len(places) == len(names)
    assert all(pathlib.Path(place).is_relative_to(tmp_path) for place in places)


def test_version_is_the_one_of_the_metadata(wheel):
    from keras_consistency import _version

    assert metadata(wheel)["Version"] == _version.__version__


HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
import keras_consistency
"""
FAKE = """
import sys, types
for name, version in {versions!r}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__version__ = version
import keras_consistency
"""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (HIDE.format(name="tensorflow"), "No module named 'tensorflow'"),
        (HIDE.format(name="keras"), "No module named 'keras'"),
        (FAKE.format(versions={"tensorflow": "2.15.1"}), "TensorFlow is 2.15.1"),
        (FAKE.format(versions={"tensorflow": "2.21.0", "keras": "2.15.0"}), "Keras is 2.15.0"),
        (FAKE.format(versions={"tensorflow": "2.21.0", "keras": "3.9.2"}), "Keras is 3.9.2"),
    ],
    ids=["no-tensorflow", "no-keras", "old-tensorflow", "keras-2", "old-keras"],
)
def test_import_says_in_one_sentence_what_to_install(code, found):
    result = run(code, path=ROOT)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: keras_consistency needs TensorFlow >= 2.18 and Keras >= 3.12 ({found}); install them with "
        '`pip install "keras-consistency[tensorflow]"`, or with `pip install "keras-consistency[tensorflow-cpu]"` '
        "where there is no GPU."
    )


def test_import_rejects_another_keras_backend():
    code = FAKE.format(versions={"tensorflow": "2.21.0", "keras": "3.15.1"}).replace(
        "import keras_consistency",
        "sys.modules['keras'].config = types.SimpleNamespace(backend=lambda: 'jax')\nimport keras_consistency",
    )
    result = run(code, path=ROOT)
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert "set the environment variable `KERAS_BACKEND=tensorflow`" in message
    assert "Received: backend='jax'" in message
