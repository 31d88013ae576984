"""Every recipe with a small student, data, and hyperparameters under which each of its branches does something.

The thresholds let some examples through and stop others, nothing ramps up, and the average moves. A recipe without
a row here fails `config_test`.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.ops import random

FEATURES, IMAGE, CLASSES = 5, (8, 8, 1), 3
LABELED, UNLABELED = 8, 32
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The names of a recipe's views and the hyperparameters of these tests."""

    views: tuple = ("weak",)
    options: dict = dataclasses.field(default_factory=dict)


RECIPES = {
    "fixmatch": Recipe(("weak", "strong"), {"threshold": 0.6}),
    "flexmatch": Recipe(("weak", "strong"), {"threshold": 0.6, "examples": UNLABELED}),
    "mean_teacher": Recipe(options={"scale": 3.0, "ramp_up_steps": 0}),
    "mixmatch": Recipe(options={"scale": 3.0, "ramp_up_steps": 0}),
    "pi_model": Recipe(options={"scale": 3.0, "ramp_up_steps": 0}),
    "pseudo_label": Recipe(options={"threshold": 0.6, "ramp_up_steps": 0}),
    "uda": Recipe(("weak", "strong"), {"threshold": 0.6, "annealing": "linear", "annealing_steps": 10}),
    "vat": Recipe(options={"epsilon": 0.5, "value_range": (0, 1), "ramp_up_steps": 0}),
}
NAMES = sorted(RECIPES)


@keras.saving.register_keras_serializable(package="contracts")
class Noise(kc.augment.RandomLayer):
    """The smallest random view: normal noise, drawn for each example of the global batch."""

    def __init__(self, *, stddev, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        self.stddev = stddev

    def augment(self, inputs, seed):
        return inputs + self.stddev * random.normal(seed, tf.shape(inputs)[0], inputs.shape[1:])

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


def examples(count, *, images=False, seed=0):
    """Features `(count, 5)` or images `(count, 8, 8, 1)` from 0 to 255, float32, and their classes."""
    numbers = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    if not images:
        centres = np.random.default_rng(99).normal(size=[CLASSES, FEATURES])
        return (centres[y] + numbers.normal(size=[count, FEATURES])).astype("float32"), y
    x = numbers.uniform(0, 100, [count, *IMAGE])
    for example, label in zip(x, y, strict=True):
        example[2 * label : 2 * label + 3] += 150
    return x.astype("float32"), y


def batches(*, images=False, batch_size=4, ratio=2, **options):
    """Four steps an epoch, in order, with the example index."""
    labeled, (unlabeled, _) = examples(LABELED, images=images), examples(UNLABELED, images=images, seed=1)
    return kc.data.pair(labeled, unlabeled, batch_size=batch_size, ratio=ratio, shuffle=False, indexed=True, **options)


def student(*, images=False, normalize=False, dropout=0.0, seed=5):
    """A built network of a few units, the same one for the same seed."""

    def dense(units, seed):
        return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotNormal(seed))

    layers = [keras.Input(IMAGE if images else [FEATURES])]
    if images:
        layers += [keras.layers.Rescaling(1 / 64, offset=-2), keras.layers.Flatten()]
    layers += [dense(6, seed), keras.layers.BatchNormalization(synchronized=True)] if normalize else [dense(6, seed)]
    layers += [keras.layers.Activation("tanh")]
    layers += [keras.layers.Dropout(dropout, seed=seed)] if dropout else []
    return keras.Sequential([*layers, dense(CLASSES, seed + 1)])


def views(name, *, images=False):
    """The views that a recipe is given: the image views, seeded, or noise for features."""
    if images:
        made = {"weak": kc.augment.image.weak(seed=11), "strong": kc.augment.image.strong(seed=12)}
    else:
        made = {"weak": Noise(stddev=0.1, seed=11), "strong": Noise(stddev=0.5, seed=12)}
    return {view: made[view] for view in RECIPES[name].views}


def model(name, *, images=False, network=None, optimizer=None, compiled=None, **options):
    """The recipe's model, compiled; call it in the scope of the strategy, if there is one."""
    network = student(images=images) if network is None else network
    options = {"ema": 0.9, "seed": 3} | RECIPES[name].options | views(name, images=images) | options
    made = getattr(kc.recipes, name)(network, **options)
    if optimizer is None:
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    made.compile(optimizer, loss=LOSS, metrics=["accuracy"], **(compiled or {}))
    return made


def state(trained):
    """All that training changes but the optimizer: student, teacher, memories."""
    variables = [*trained.student.weights, *trained.network.weights, *trained.part_state]
    return [variable.numpy() for variable in variables]


def assert_equal_state(one, other, *, atol=0.0):
    """Equal to the bit, or to a tolerance."""
    for a, b in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)
