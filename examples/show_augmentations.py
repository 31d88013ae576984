"""Shows what the image layers do: a PNG with one row for each layer, and a column for each of five strengths.

    python -m examples.show_augmentations --output=augmentations.png
    python -m examples.show_augmentations --image=photo.jpg --layers=RandomHue,RandAugment --seed=3

Every view of a row is made with the same seed, so that what grows along it is the strength alone; at strength 0 it is
the image itself. The presets have no strength: their rows show five draws. Without `--image` or `--dataset` it is a
photograph that comes with scikit-learn. Takes about half a minute on two CPU cores, most of it compilation.
"""

import os
import pathlib

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import matplotlib  # noqa: E402

matplotlib.use("agg")
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from matplotlib import pyplot  # noqa: E402

import keras_consistency as kc  # noqa: E402

image = kc.augment.image

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
# What is multiplied by the strength: arguments of each layer at strength 1.
LAYERS = {
    "RandomFlip": {"probability": 1.0},
    "RandomShift": {"factor": 0.5},
    "RandomTranslation": {"factor": 0.5},
    "RandomRotation": {"factor": 0.5},
    "RandomShear": {"factor": 1.0},
    "RandomZoom": {"factor": 1.0},
    "RandomPerspective": {"factor": 1.0},
    "RandomCropAndPad": {"factor": 1.0},
    "RandomResizedCrop": {"factor": 1.0},
    "RandomBrightness": {"factor": 1.0},
    "RandomContrast": {"factor": 1.0},
    "RandomSaturation": {"factor": 1.0},
    "RandomHue": {"factor": 1.0},
    "RandomColorJitter": {
        "brightness_factor": 0.8,
        "contrast_factor": 0.8,
        "saturation_factor": 0.8,
        "hue_factor": 0.8,
    },
    "RandomGrayscale": {"probability": 1.0},
    "RandomSharpness": {"factor": 1.0},
    "RandomGaussianBlur": {"sigma": 5.0},
    "RandomPosterization": {"factor": 1.0},
    "Solarization": {"factor": 1.0},
    "RandomInvert": {"probability": 1.0},
    "AutoContrast": {"probability": 1.0},
    "Equalization": {"probability": 1.0},
    "GaussianNoise": {"stddev": 0.25},
    "Cutout": {"size": 1.0},
    "RandomErasing": {"area": (0.5, 0.5)},
    "PatchMasking": {"ratio": 1.0},
    "RandAugment": {"magnitude": 1.0},
    "TrivialAugment": {"magnitude": 1.0},
    "CTAugment": {"magnitude": 1.0},
    "AugMix": {"severity": 1.0},
}
# What is the same at every strength, where it is not the default.
FIXED = {
    "Cutout": {"uniform_size": False},
    "PatchMasking": {"patch_size": 8},
    "RandAugment": {"uniform_magnitude": False},
    "RandomErasing": {"probability": 1.0},
}
# Without a strength: five draws.
PRESETS = {
    "weak": lambda: image.weak(flip=True),
    "medium": lambda: image.medium(flip=True),
    "strong": lambda: image.strong(flip=True),
}
SIDE = 128  # pixels of a view in the sheet


def layer(name, strength):
    """A layer of the table at a strength in [0, 1]."""
    scaled = keras.tree.map_structure(lambda value: strength * value, LAYERS[name])
    return getattr(image, name)(**scaled, **FIXED.get(name, {}))


def views(name, picture, seed):
    """The row of a layer: five views of an image `(height, width, channels)`, uint8."""
    if name in PRESETS:
        preset = PRESETS[name]()
        made = [preset(picture, seed=[seed, draw]) for draw in range(len(STRENGTHS))]
    else:
        made = [layer(name, strength)(picture, seed=[seed, 0]) for strength in STRENGTHS]
    return [np.asarray(view) for view in made]


def label(name):
    """What stands before a row."""
    if name in PRESETS:
        return f"{name}\nfive draws"
    return "\n".join([name, *(f"{argument} ≤ {most}" for argument, most in LAYERS[name].items())])


def draw(rows, path):
    """Writes the sheet: `rows` is a dictionary from the label of each row to its views."""
    lines = [np.concatenate([framed(view) for view in row], axis=1) for row in rows.values()]
    sheet = np.concatenate(lines, axis=0)
    height, width = sheet.shape[:2]
    side, left, top, dots = width // len(STRENGTHS), 190, 30, 100
    size = (left + width, top + height)
    figure = pyplot.figure(figsize=(size[0] / dots, size[1] / dots), dpi=dots)
    axes = figure.add_axes((left / size[0], 0, width / size[0], height / size[1]))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    centres = side * (0.5 + np.arange(max(len(rows), len(STRENGTHS))))
    axes.set_xticks(centres[: len(STRENGTHS)], [f"{strength:g}" for strength in STRENGTHS])
    axes.set_yticks(centres[: len(rows)], rows)
    axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    figure.savefig(path)
    pyplot.close(figure)


def framed(view):
    """A view in colour, enlarged by whole pixels, with a white border."""
    view = np.repeat(view, 3 // view.shape[-1], axis=-1)
    scale = max(1, SIDE // max(view.shape[:2]))
    view = view.repeat(scale, axis=0).repeat(scale, axis=1)
    above, beside = ((max(view.shape[:2]) + 4 - side) // 2 for side in view.shape[:2])
    square = np.full([max(view.shape[:2]) + 4] * 2 + [3], 255, "uint8")
    square[above : above + view.shape[0], beside : beside + view.shape[1]] = view
    return square


def load_picture(path, dataset):
    """The image to make views of: uint8 `(height, width, channels)`, at most 128 pixels wide and high.

    Raises:
        app.UsageError: if there is none.
    """
    if path is not None and dataset is not None:
        raise app.UsageError("Give one of --image and --dataset. Received both.")
    if dataset is not None:
        try:
            picture = kc.datasets.load(dataset)[0][0][0]
        except (ValueError, ConnectionError, ImportError) as error:
            raise app.UsageError(f"--dataset: {error}") from None
        if np.ndim(picture) != 3:
            raise app.UsageError(f"--dataset must hold images. Received: --dataset={dataset}")
    elif path is not None:
        try:
            picture = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        except tf.errors.OpError as error:
            raise app.UsageError(f"--image must be a PNG or JPEG file. Received: {path} ({error.message})") from None
    else:
        from sklearn import datasets  # late: it is slow to import, and an extra

        picture = datasets.load_sample_image("china.jpg")[60:400, 140:480]
    height, width = picture.shape[:2]
    if max(height, width) > SIDE:
        size = [max(1, round(SIDE * side / max(height, width))) for side in (height, width)]
        picture = tf.cast(tf.round(tf.image.resize(picture, size, method="area")), tf.uint8)
    return np.asarray(picture)


def chosen_rows(names):
    """The rows to show: those named, or all for `None`.

    Raises:
        app.UsageError: if there is no row of a name.
    """
    names = [*LAYERS, *PRESETS] if names is None else names
    unknown = [name for name in names if name not in LAYERS | PRESETS]
    if unknown or not names:
        raise app.UsageError(f"--layers must be some of {', '.join(LAYERS | PRESETS)}. Received: {', '.join(unknown)}")
    return names


def prepare_output(path):
    """The file to write, tried now so that no view is made for nothing.

    Raises:
        app.UsageError: if it is no PNG file or cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise app.UsageError(f"--output must be a PNG file. Received: --output={path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise app.UsageError(f"--output must be a file to write. Received: {path} ({error.strerror})") from None
    return path


def define_flags():
    """Defines the flags, here and not on import: examples name some alike."""
    flags.DEFINE_string("image", None, "PNG or JPEG file to make views of.")
    flags.DEFINE_string("dataset", None, "Take the first image of digits, mnist5k or an image data set of tfds.")
    flags.DEFINE_list("layers", None, "Rows to show, by name. Default: all.")
    flags.DEFINE_integer("seed", 2, "Of the draws.")
    flags.DEFINE_string("output", "augmentations.png", "PNG file to write.")


def main(argv):
    """Makes the views and writes the sheet."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    names = chosen_rows(flags.FLAGS.layers)
    picture = load_picture(flags.FLAGS.image, flags.FLAGS.dataset)
    path = prepare_output(flags.FLAGS.output)
    rows = {}
    for number, name in enumerate(names, start=1):
        rows[label(name)] = views(name, picture, flags.FLAGS.seed)
        print(f"{number} of {len(names)}: {name}", flush=True)
    draw(rows, path)
    print(f"Written: {path}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
