"""Trains digit classifiers that withstand attacks, and measures how much noise, corruption and attack each withstands.

    python -m examples.train_robust --recipes=plain,adversarial_training,trades,adversarial_consistency --radius=0.3

All models learn from the 4,000 labelled training images of mnist5k, with the same network, view and number of steps:
`plain` from the images as they are, the others from images changed against them within `--radius` (L-infinity, of
pixels in 0..1; `vat` within an L2 norm). The radius grows in three stages, each of them the recipe once more around
the same student: attacked at the full radius from the start, a network does not leave the constant answer. Every model
is then judged by `kc.evaluation.robustness` on test images: as they are, with noise, with patches masked, with common
corruptions (they need the extra `[robustness]`; `--corruptions=` leaves them out), and under FGSM and PGD of three
radii. Prints the tables and writes the figures (JSON) and the curves (PNG). Judge a model that matters with attackers
of other libraries as well: `python -m benchmarks.robustness` does.
"""

import datetime
import json
import os
import time

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import keras_consistency as kc  # noqa: E402
from examples import outputs  # noqa: E402

RECIPES = ("plain", "adversarial_training", "alp", "trades", "adversarial_consistency", "vat")
STAGES = ((1 / 3, 1 / 6), (2 / 3, 1 / 6), (1, 2 / 3))  # share of the radius, and share of the steps trained with it
MEASURES = {"accuracy": "Accuracy", "consistency": "Predictions unchanged", "ece": "Calibration error"}

# The ball that attacks start from in training, in radii. Started within the radius, steps seldom reach its corners, and
# the network is left open there.
RANDOM_START = 3.0
# What the recipes leave open. With large scales, ALP and TRADES hide more of the gradient than they take away.
SETTINGS = {
    "alp": {"scale": 0.1},
    "trades": {"scale": 1.0},
    "adversarial_consistency": {"scale": 3.0},
    "vat": {"epsilon": 2.0, "scale": 1.0},
}


def build_student(shape, classes):
    """A small convolutional network for images with values in 0..255; returns logits.

    The first layer looks at single pixels: it learns thresholds, above which ink is ink whatever was added to it. The
    activations are smooth: behind a flat one the attack finds no gradient, and trains against nothing.
    """
    convolution = {"padding": "same", "activation": "silu", "kernel_initializer": "he_normal"}
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 1, **convolution),
            keras.layers.Conv2D(32, 5, strides=2, **convolution),
            keras.layers.Conv2D(64, 5, strides=2, **convolution),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="silu", kernel_initializer="he_normal"),
            keras.layers.Dense(classes),
        ],
        name="student",
    )


def build_view(seed):
    """What all models see of an image, and attacks start from: shifted by up to two pixels, with noise.

    Without the noise, networks learn to hide their gradient from the attack that they are trained with more than with
    it: `benchmarks/robustness.py` tells, by an attack that needs no gradient.
    """
    image = kc.augment.image
    return kc.augment.Chain([image.RandomShift(factor=2 / 28), image.GaussianNoise(stddev=0.15)], seed=seed)


def build_model(recipe, student, weak, *, radius, attack_steps, seed):
    """The model of a recipe around a student, attacked within the radius during training."""
    if recipe == "plain":
        average = kc.teachers.EMA(decay=0.99, targets_from="student")
        return kc.ConsistencyModel(student, [], teacher=average, labeled_view=weak, seed=seed)
    options = {"ema": 0.99, "weak": weak, "seed": seed, **SETTINGS.get(recipe, {})}
    if recipe != "vat":
        options |= {"radius": radius, "step_size": radius / 3, "steps": attack_steps, "random_start": RANDOM_START}
    if recipe in ("vat", "adversarial_consistency"):
        options["ramp_up_steps"] = 100
    return getattr(kc.recipes, recipe)(student, **options)


def train(recipe, data, *, radius, attack_steps, steps, batch_size, learning_rate, seed=0, verbose=1):
    """Trains one model.

    Args:
        recipe: one of `RECIPES`.
        data: `(images, labels)` arrays, with values in 0..255.
        radius, attack_steps, steps, batch_size, learning_rate, seed: as the flags.
        verbose: Keras's: 1 for progress bars, 0 for silence.

    Returns:
        The model, and a dictionary with `seconds` and `cpu_seconds` of the training.
    """
    x, y = data
    keras.utils.set_random_seed(seed)
    student = build_student(x.shape[1:], int(y.max()) + 1)
    weak = build_view(seed)
    warmup = steps // 10
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            learning_rate / 100, steps - warmup, warmup_target=learning_rate, warmup_steps=warmup
        )
    )
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).repeat().batch(batch_size)
    stages = STAGES if recipe not in ("plain", "vat") else ((1, 1),)
    start, cpu_start = time.perf_counter(), time.process_time()
    for share, part in stages:
        model = build_model(recipe, student, weak, radius=share * radius, attack_steps=attack_steps, seed=seed)
        model.compile(
            optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,  # XLA takes three times as long for the convolutions of an attack on CPUs
        )
        model.fit(batches, steps_per_epoch=round(part * steps), shuffle=False, verbose=verbose)
    return model, {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}


def judge(model, data, *, radius, corruptions=(), severities=(), seed=0, verbose=1):
    """The records of `kc.evaluation.robustness`, under attacks of a third, two thirds and all of the radius."""
    return kc.evaluation.robustness(
        model,
        data,
        noise=(0.1, 0.2, 0.4),
        masking=(0.1, 0.2, 0.4),
        corruptions=corruptions,
        severities=severities,
        radii=[round(share * radius, 4) for share, _ in STAGES],
        batch_size=500,
        seed=seed,
        verbose=verbose,
    )


def table(results, measure):
    """One measure of all models under all conditions, as a small text table; of the corruptions, their mean."""
    kinds = {"clean", "noise", "masking", "FGSM", "PGD"}
    rows = {}
    for name, result in results.items():
        for record in result["records"]:
            known = record["condition"] in kinds
            row = (record["condition"] if known else "corruptions", record["level"])
            rows.setdefault(row, {}).setdefault(name, []).append(record[measure])
    width = max(len(name) for name in results) + 2
    lines = [f"{MEASURES[measure]:24}" + "".join(f"{name:>{width}}" for name in results)]
    for (condition, level), values in rows.items():
        figures = "".join(f"{sum(values[name]) / len(values[name]):>{width}.1%}" for name in results)
        lines.append(f"{condition:16}{'' if level is None else f'{level:g}':>8}{figures}")
    return "\n".join(lines)


def define_flags():
    """Defines the flags, here and not on import: examples name some alike."""
    flags.DEFINE_list(
        "recipes",
        ["plain", "adversarial_training", "trades", "adversarial_consistency"],
        f"What to train, out of {', '.join(RECIPES)}.",
    )
    flags.DEFINE_float("radius", 0.3, "Of the attacks, for pixels in 0..1.", lower_bound=0.01, upper_bound=1.0)
    flags.DEFINE_integer("attack_steps", 5, "Of PGD at each step of the training.", lower_bound=1)
    flags.DEFINE_integer("steps", 1900, "Optimizer steps of each training.", lower_bound=10)
    flags.DEFINE_integer("batch_size", 50, "Images a step.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 4e-3, "Of Adam, after its warm-up and before its decay.", lower_bound=0.0)
    flags.DEFINE_list("corruptions", ["common"], "Names of corruptions; `common` for 15; empty for none.")
    flags.DEFINE_list("severities", ["1", "3", "5"], "Of the corruptions, out of 1 to 5.")
    flags.DEFINE_integer("images", 500, "Test images to judge on.", lower_bound=1, upper_bound=1000)
    flags.DEFINE_integer("seed", 0, "Of the weights, the views and the attacks.", lower_bound=0)
    flags.DEFINE_string("output_dir", None, "New or empty directory. Default: runs/robust-TIME.")


def recipes(names):
    """The names without doubles.

    Raises:
        app.UsageError: for none, and for others than `RECIPES`.
    """
    if not names or not set(names) <= set(RECIPES):
        raise app.UsageError(f"--recipes must be some of {','.join(RECIPES)}. Received: {','.join(names)}")
    return list(dict.fromkeys(names))


def conditions(corruptions, severities):
    """The flags of that name as arguments of `judge`, tried out on two images before anything is trained.

    Raises:
        app.UsageError: for corruptions and severities that do not exist, and where their package is missing.
    """
    corruptions = "common" if corruptions == ["common"] else tuple(corruptions)
    if not all(value.isdecimal() for value in severities):
        raise app.UsageError(f"--severities must be integers from 1 to 5. Received: {','.join(severities)}")
    severities = tuple(int(value) for value in severities)
    try:
        images = np.zeros([2, 28, 28, 1], "uint8")
        kc.evaluation.robustness(
            build_student(images.shape[1:], 10),
            (images, np.arange(2)),
            noise=(),
            masking=(),
            attacks=(),
            corruptions=corruptions,
            severities=severities,
            verbose=0,
        )
    except (ImportError, ValueError) as error:
        raise app.UsageError(f"--corruptions and --severities: {error}") from None
    return {"corruptions": corruptions, "severities": severities}


def main(argv):
    """Trains and judges the models, and writes what came of it."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)
    chosen = recipes(flags.FLAGS.recipes)
    names = ("radius", "attack_steps", "steps", "batch_size", "learning_rate", "seed")
    budget = {name: flags.FLAGS[name].value for name in names}
    judged = conditions(flags.FLAGS.corruptions, flags.FLAGS.severities)
    train_data, (x, y) = kc.datasets.load("mnist5k")
    # Test images come sorted by class.
    rows = np.random.default_rng(0).permutation(len(x))[: flags.FLAGS.images]
    test_data = (x[rows], y[rows])
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    output = outputs.prepare(flags.FLAGS.output_dir or f"runs/robust-{stamp}")

    results = {}
    for recipe in chosen:
        print(f"\n{recipe}: {budget['steps']} steps, then {len(rows)} test images", flush=True)
        model, took = train(recipe, train_data, **budget)
        records = judge(model, test_data, radius=budget["radius"], seed=budget["seed"], **judged)
        results[recipe] = {**took, "records": records}
    (output / "results.json").write_text(json.dumps({**budget, **judged, "results": results}, indent=2) + "\n")
    kc.evaluation.plot_robustness({name: result["records"] for name, result in results.items()}, output / "curves.png")
    for measure in MEASURES:
        print(f"\n{table(results, measure)}")
    took = ", ".join(f"{name} {result['seconds']:.0f}" for name, result in results.items())
    print(f"\nSeconds of training: {took}\nCurves: {output / 'curves.png'}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
