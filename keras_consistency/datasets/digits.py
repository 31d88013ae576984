"""The `digits` data set of scikit-learn for tensorflow-datasets, made with no network."""

import numpy as np

from keras_consistency.datasets import extras, splits

tfds = extras.require("tensorflow_datasets")

_TEST_PER_CLASS = 36


class Digits(tfds.core.GeneratorBasedBuilder):
    """Handwritten digits, 8 x 8: 1,437 to train and 360 (36 a class) to test; values 0 to 16 are scaled to 0 to 255."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First split."}

    def _info(self):
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        )

    def _split_generators(self, dl_manager):
        source = extras.require("sklearn.datasets").load_digits()
        images = np.round(source.images[..., None] * (255 / 16)).astype(np.uint8)
        test = splits.test_rows(images, source.target, _TEST_PER_CLASS)
        train = np.setdiff1d(np.arange(len(images)), test)
        return {
            "train": self._generate_examples(images, source.target, train),
            "test": self._generate_examples(images, source.target, test),
        }

    def _generate_examples(self, images, labels, rows):
        for row in rows:
            yield int(row), {"image": images[row], "label": int(labels[row])}
