"""The views of images that benchmarks compare: ours, and those of others that do the same.

A view is a callable `(images, seed) -> output`; what makes it is called only when it is measured.
"""

import dataclasses
import inspect

import keras
import tensorflow as tf

import keras_consistency as kc

try:
    import keras_cv
except ImportError:
    keras_cv = None

OURS, KERAS, KERAS_CV, PIL_1, PIL_2 = "ours", "keras", "keras_cv", "PIL, 1 process", "PIL, 2 processes"
CLASSES = 10

# Classes that others are made of.
BASES = ("ColorLayer", "GeometricLayer", "ImageLayer", "Policy")
# Our layer -> Keras's, where it has another name; `None` where Keras's of that name is something else.
KERAS_NAMES = {"Cutout": "RandomErasing", "GaussianNoise": None, "RandomShift": "RandomTranslation"}
# Our layer -> what Keras's is given so as to do as much as ours does by default.
KERAS_ARGUMENTS = {
    "AugMix": {"factor": 0.3},
    "Cutout": {"scale": (0.0, 0.5), "fill_value": 127.0},
    "RandAugment": {"num_ops": 2},
    "RandomBrightness": {"factor": 0.5},
    "RandomColorJitter": {
        "brightness_factor": 0.4,
        "contrast_factor": 0.4,
        "saturation_factor": 0.4,
        "hue_factor": 0.2,
    },
    "RandomContrast": {"factor": 0.5},
    "RandomErasing": {"factor": 0.5, "scale": (0.1, 0.6)},
    "RandomFlip": {"mode": "horizontal"},
    "RandomGaussianBlur": {"kernel_size": 7, "sigma": 1.0},
    "RandomHue": {"factor": 0.2},
    "RandomInvert": {"factor": 0.5},
    "RandomPerspective": {"scale": 0.5},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 30 / 360, "fill_mode": "constant"},
    "RandomSaturation": {"factor": 0.5},
    "RandomSharpness": {"factor": 0.5},
    "RandomShear": {"x_factor": 0.3, "y_factor": 0.3, "fill_mode": "constant"},
    "RandomShift": {"height_factor": 0.125, "width_factor": 0.125, "interpolation": "nearest"},
    "RandomTranslation": {"height_factor": 0.125, "width_factor": 0.125, "fill_mode": "constant"},
    "RandomZoom": {"height_factor": 0.2, "fill_mode": "constant"},
    "Solarization": {"threshold_factor": 0.5},
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What is compared.

    Attributes:
        makers: contender -> function without arguments that makes its view. PIL's are made elsewhere.
        bounds: (contender, whether images are large) -> how many times as fast ours is to be.
    """

    makers: dict
    bounds: dict = dataclasses.field(default_factory=dict)


def rows():
    """All rows by name: those with bounds first, then every layer of `kc.augment.image`."""
    image = kc.augment.image
    both = {(KERAS, False): 1, (KERAS, True): 1}
    named = {
        "RandAugment + Cutout": Row(
            {
                OURS: lambda: _ours(kc.augment.Chain([image.RandAugment(), image.Cutout()])),
                # Without Cutout, which they would have to pay for.
                KERAS: lambda: _other(keras.layers.RandAugment(num_ops=2)),
                **_keras_cv("RandAugment", value_range=(0, 255), augmentations_per_image=2),
                PIL_1: None,
                PIL_2: None,
            },
            {
                (KERAS, False): 20,
                (KERAS_CV, False): 4,
                (PIL_2, False): 2,
                (KERAS, True): 40,
                (KERAS_CV, True): 6,
                (PIL_1, True): 1,
            },
        ),
        "weak view": Row({OURS: lambda: _ours(image.weak(flip=True)), KERAS: _keras_weak}, both),
    }
    # Keras's CutMix takes no `alpha`.
    for name, arguments in (("MixUp", {"alpha": 1.0}), ("CutMix", {})):
        if hasattr(kc.mixers, name):
            named[name] = Row(
                {
                    OURS: lambda name=name: _mixer(getattr(kc.mixers, name)(alpha=1.0)),
                    KERAS: lambda name=name, arguments=arguments: _labeled(getattr(keras.layers, name)(**arguments)),
                },
                both,
            )
    for name in image.__all__:
        layer = getattr(image, name)
        if not inspect.isclass(layer) or name in BASES:
            continue
        makers = {OURS: lambda layer=layer: _ours(layer())}
        theirs = getattr(keras.layers, KERAS_NAMES.get(name, name) or "", None)
        if theirs is not None:
            makers[KERAS] = lambda theirs=theirs, name=name: _other(theirs(**KERAS_ARGUMENTS.get(name, {})))
        if name == "AugMix":
            makers |= _keras_cv("AugMix", value_range=(0, 255))
        named[name] = Row(makers, both if name in ("Cutout", "AugMix") else {})
    return named


def _ours(layer):
    return lambda images, seed: layer(images, training=True, seed=seed)


def _other(layer):
    return lambda images, seed: layer(images, training=True)


def _keras_cv(name, **arguments):
    if keras_cv is None:
        return {}
    return {KERAS_CV: lambda: _other(getattr(keras_cv.layers, name)(**arguments))}


def _keras_weak():
    """The fastest that is right: `RandomCrop` after padding is faster, and gives all images of a batch one shift."""
    flip = keras.layers.RandomFlip("horizontal")
    shift = keras.layers.RandomTranslation(0.125, 0.125, interpolation="nearest")
    return lambda images, seed: shift(flip(images, training=True), training=True)


def _targets(images):
    return tf.one_hot(tf.range(tf.shape(images)[0]) % CLASSES, CLASSES)


def _mixer(mixer):
    return lambda images, seed: mixer([images], [_targets(images)], seed=seed)


def _labeled(layer):
    return lambda images, seed: layer({"images": images, "labels": _targets(images)}, training=True)
