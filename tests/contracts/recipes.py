"""Every recipe with a small student, data, and hyperparameters under which each of its branches does something.

The thresholds let some examples through and stop others, nothing ramps up, and the average moves. A recipe without
a row here fails `config_test`.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.ops import random

FEATURES, IMAGE, CLASSES = 5, (8, 8, 1), 3
LABELED, UNLABELED = 8, 32
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a recipe is given in these tests.

    Attributes:
        views: the names of its views.
        options: its hyperparameters.
        heads: the outputs that its student needs beside logits, as `kc.heads.attach` takes them.
        images: whether it takes images only, as those that turn them do.
        teacher: function from the student to the teacher that the recipe must be given, or `None`.
    """

    views: tuple = ("weak",)
    options: dict = dataclasses.field(default_factory=dict)
    heads: dict = dataclasses.field(default_factory=dict)
    images: bool = False
    teacher: Callable | None = None


def replaced(network):
    """A teacher like the student, of other weights, whose place the student takes once in every three steps."""
    numbers, other = np.random.default_rng(17), keras.models.clone_model(network)
    other.set_weights([weight + 0.5 * numbers.normal(size=weight.shape) for weight in network.get_weights()])
    return kc.teachers.Frozen(other, every=3)


# Features have no range. Steps in the maximum norm are the same on one replica and on two; ALP has the other norm.
ATTACK = {"radius": 0.3, "step_size": 0.2, "steps": 2, "value_range": None}
RECIPES = {
    "adamatch": Recipe(("weak", "strong"), {"threshold": 0.9, "momentum": 0.9, "ramp_up_steps": 0}),
    "adversarial_consistency": Recipe(options={**ATTACK, "scale": 2.0, "ramp_up_steps": 0}),
    "adversarial_training": Recipe(options={**ATTACK, "clean_share": 0.3}),
    "alp": Recipe(options={**ATTACK, "norm": "l2", "clean_share": 0.4}),
    "augmix": Recipe(("weak", "strong"), {"scale": 2.0}),
    "comatch": Recipe(
        ("weak", "strong"), {"threshold": 0.5, "graph_threshold": 0.4, "examples": 20}, heads={"projection": 4}
    ),
    "crmatch": Recipe(("weak", "strong"), {"threshold": 0.6}, heads={"projection": 4, "rotation": True}, images=True),
    "dash": Recipe(("weak", "strong"), {"warmup_steps": 2, "decay_every": 2, "gamma": 2.0, "C": 0.9, "rho_min": 0.4}),
    "defixmatch": Recipe(("weak", "strong"), {"threshold": 0.6, "scale": 0.7}),
    "fixmatch": Recipe(("weak", "strong"), {"threshold": 0.6}),
    "flexmatch": Recipe(("weak", "strong"), {"threshold": 0.6, "examples": UNLABELED}),
    "freematch": Recipe(("weak", "strong"), {"momentum": 0.9, "fairness_scale": 0.5}),
    "ict": Recipe(options={"scale": 3.0, "ramp_up_steps": 0}),
    "mean_teacher": Recipe(options={"scale": 3.0, "ramp_up_steps": 0}),
    "mixmatch": Recipe(options={"scale": 3.0, "ramp_up_steps": 0}),
    "noisy_student": Recipe(("strong",), {"threshold": 0.6}, teacher=replaced),
    "pi_model": Recipe(options={"scale": 3.0, "ramp_up_steps": 0}),
    "pseudo_label": Recipe(options={"threshold": 0.6, "ramp_up_steps": 0}),
    "remixmatch": Recipe(
        ("weak", "strong"), {"ramp_up_steps": 0, "momentum": 0.9}, heads={"rotation": True}, images=True
    ),
    "simmatch": Recipe(("weak", "strong"), {"threshold": 0.5, "examples": 6}, heads={"projection": 4}),
    "refixmatch": Recipe(("weak", "strong"), {"threshold": 0.6}),
    "sequencematch": Recipe(("weak", "medium", "strong"), {"threshold": 0.55, "examples": UNLABELED}),
    "softmatch": Recipe(("weak", "strong"), {"momentum": 0.9}),
    "temporal_ensembling": Recipe(options={"scale": 3.0, "ramp_up_steps": 0, "examples": UNLABELED}),
    "trades": Recipe(options={**ATTACK, "scale": 2.0}),
    "uda": Recipe(("weak", "strong"), {"threshold": 0.6, "annealing": "linear", "annealing_steps": 10}),
    "vat": Recipe(options={"epsilon": 0.5, "value_range": (0, 1), "ramp_up_steps": 0}),
}
NAMES = sorted(RECIPES)
# Recipes whose memories, teacher, mixer, forward and attack other recipes have too: tests that take seconds a recipe
# leave them to the slow run.
FAMILIAR = ["adversarial_consistency", "alp", "augmix", "comatch", "crmatch", "defixmatch", "ict", "pi_model"]
FAMILIAR += ["pseudo_label", "refixmatch", "sequencematch", "uda"]
COSTLY = [pytest.param(name, marks=pytest.mark.slow) if name in FAMILIAR else name for name in NAMES]
# Those whose average is evaluated.
AVERAGED = [name for name in NAMES if "ema" in getattr(kc.recipes, name).__kwdefaults__]


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


def takes_images(name):
    """Whether a recipe takes images only."""
    return RECIPES[name].images


def student_for(name, *, images=False, **options):
    """The network with the outputs and the inputs that a recipe needs."""
    return with_heads(name, student(images=images or takes_images(name), **options))


def with_heads(name, network):
    """A network that returns one tensor, with the further outputs that a recipe needs."""
    heads = RECIPES[name].heads
    return kc.heads.attach(network, **heads) if heads else network


def teacher_for(name, network=None):
    """The argument `teacher` of a recipe that must be given one, else none."""
    make = RECIPES[name].teacher
    return {} if make is None else {"teacher": make(student_for(name) if network is None else network)}


def views(name, *, images=False):
    """The views that a recipe is given: the image views, seeded, or noise, which needs no image and is cheaper."""
    unit = 50.0 if takes_images(name) else 1.0
    noise = {"weak": 0.1, "medium": 0.3, "strong": 0.5}
    made = {}
    for seed, view in enumerate(RECIPES[name].views, start=11):
        preset = getattr(kc.augment.image, view, None)
        made[view] = preset(seed=seed) if images else Noise(stddev=unit * noise[view], seed=seed, name=view)
    return made


def model(name, *, images=False, network=None, optimizer=None, compiled=None, **options):
    """The recipe's model, compiled; call it in the scope of the strategy, if there is one."""
    recipe = getattr(kc.recipes, name)
    network = student_for(name, images=images) if network is None else network
    average = {"ema": 0.9} if "ema" in recipe.__kwdefaults__ else {}
    options = (
        {**average, "seed": 3}
        | teacher_for(name, network)
        | RECIPES[name].options
        | views(name, images=images)
        | options
    )
    made = recipe(network, **options)
    if optimizer is None:
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    made.compile(optimizer, loss=LOSS, metrics=["accuracy"], **(compiled or {}))
    return made


def state(trained):
    """All that training changes but the optimizer: student, teacher, memories."""
    variables = [*trained.student.weights, *trained.teacher.weights, *trained.part_state]
    return [variable.numpy() for variable in variables]


def assert_equal_state(one, other, *, atol=0.0):
    """Equal to the bit, or to a tolerance."""
    for a, b in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)
