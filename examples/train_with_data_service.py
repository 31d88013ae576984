"""Trains FixMatch with views made in this process, and again with views made by the workers of a tf.data service.

    python -m examples.train_with_data_service

Both trainings see the same batches and views in the same order, whichever worker made them, and end with the same
weights: the program compares them, and fails if they differ. The images are 8 x 8 digits, of which `--labels` have
their label. The service is a dispatcher and `--workers` processes of this machine, started and ended here; or, with
`--service=grpc://HOST:PORT`, one that is running (see `examples/data_service.py`). On one machine the service takes the
same cores and comes on top; it pays when its workers have cores of their own. With the defaults, less than a minute on
two CPU cores.
"""

import contextlib
import os
import time

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_consistency as kc  # noqa: E402
from examples import data_service  # noqa: E402

PIPELINE = ("labels", "batch_size", "ratio", "seed")  # what `batches` takes
TOLERANCE = 1e-6  # of a weight: the batches are equal to the bit, sums of several threads may not be


def build_student(shape, classes):
    """A small convolutional network for images with values in 0..255; returns logits."""
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Conv2D(64, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ],
        name="student",
    )


def batches(x, y, *, labels, batch_size, ratio, seed, service=None):
    """Batches without end, with their views, made here or by a service."""
    known = kc.datasets.labeled_indices(y, labels // 10, seed=seed)
    pairs = kc.data.pair((x[known], y[known]), x, batch_size=batch_size, ratio=ratio, seed=seed).repeat()
    weak, strong = kc.augment.image.weak(), kc.augment.image.strong()
    return kc.data.with_views(pairs, labeled=weak, weak=weak, strong=strong, seed=seed, service=service)


def train(train_data, test_data, *, steps, learning_rate, seed, **arguments):
    """Trains a model on `batches(...)`.

    Returns:
        The weights of student and teacher, the accuracy on the test images, and the seconds that it took.
    """
    keras.utils.set_random_seed(seed)
    x, y = train_data
    model = kc.recipes.fixmatch(build_student(x.shape[1:], 10), weak="weak", strong="strong")
    model.compile(
        keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    data = batches(x, y, seed=seed, **arguments)
    start = time.perf_counter()
    model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)  # `data` is shuffled, and has no end
    seconds = time.perf_counter() - start
    accuracy = model.evaluate(*test_data, batch_size=500, verbose=0, return_dict=True)["accuracy"]
    return model.get_weights(), accuracy, seconds


def compare(train_data, test_data, *, service, **budget):
    """Trains with and without the service, and prints a line for each: the largest difference between two weights."""
    found = {}
    for name, address in (("in this process", None), ("tf.data service", service)):
        weights, accuracy, seconds = train(train_data, test_data, service=address, **budget)
        print(f"{name:16}{accuracy:>8.1%} test accuracy{seconds:>8.1f} seconds", flush=True)
        found[name] = weights
    return max(float(np.abs(a - b).max()) for a, b in zip(*found.values(), strict=True))


def define_flags():
    """Defines the flags, here and not on import: examples name some alike."""
    flags.DEFINE_string("service", None, "Address of a tf.data service. Default: start one on this machine.")
    flags.DEFINE_integer("workers", 2, "Worker processes to start, without --service.", lower_bound=1)
    flags.DEFINE_integer("labels", 40, "Training images to keep the label of, a multiple of 10.", lower_bound=10)
    flags.DEFINE_integer("steps", 300, "Optimizer steps of each run.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 32, "Labelled images a step.", lower_bound=1)
    flags.DEFINE_integer("ratio", 3, "Unlabelled images a step for each labelled one.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 2e-3, "Of Adam.", lower_bound=0.0)
    flags.DEFINE_integer("seed", 0, "Of the labels drawn, the weights, the batches and the views.", lower_bound=0)


def main(argv):
    """Trains twice and compares."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)
    names = ("labels", "steps", "batch_size", "ratio", "learning_rate", "seed")
    budget = {name: flags.FLAGS[name].value for name in names}
    if budget["labels"] % 10:
        raise app.UsageError(f"--labels must be a multiple of 10, as there are 10 digits. Received: {budget['labels']}")
    train_data, test_data = kc.datasets.load("digits")
    with contextlib.ExitStack() as stack:
        service = flags.FLAGS.service or stack.enter_context(data_service.running(flags.FLAGS.workers))
        try:  # before anything is trained
            batches(*train_data, service=service, **{name: budget[name] for name in PIPELINE})
        except (ConnectionError, ValueError) as error:
            raise app.UsageError(str(error)) from None
        difference = compare(train_data, test_data, service=service, **budget)
    print(f"largest difference between two weights: {difference:g}")
    if difference > TOLERANCE:
        raise SystemExit(f"The two trainings differ: they should not, by more than {TOLERANCE:g}.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
