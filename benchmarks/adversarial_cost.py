"""What a step with adversarial examples costs, in steps of plain supervised training.

    python -m benchmarks.adversarial_cost

A supervised step on N images is the unit: Keras's own `fit` on the same network and batch. Projected gradient descent
of k steps costs k forward and backward passes more, so k + 1 units at the most; virtual adversarial training teaches N
labelled and N more images and its unit is supervised training on 2 N. Views are the identity on both sides. All models
take turns in one process; printed are medians and the median of the paired ratios, since machines drift.
"""

import json
import os
import pathlib
import statistics
import time

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_consistency as kc  # noqa: E402
from benchmarks.step_time import compiled, repeated, seconds  # noqa: E402
from examples.train_image import build_student  # noqa: E402

IMAGES = flags.DEFINE_integer("images", 128, "Images a step.", lower_bound=1)
STEPS_PER_TURN = flags.DEFINE_integer("steps_per_turn", 20, "Steps timed at once.", lower_bound=2)
TURNS = flags.DEFINE_integer("turns", 15, "Turns of each model, after one to warm up.", lower_bound=1)
RESULTS = flags.DEFINE_string("results", None, "JSON file to write, or none.")
SHAPE, CLASSES = (28, 28, 1), 10


def rows(student, view):
    """Row -> model, images in units of a step, and the bound that its ratio is to stay under."""
    attack = {"weak": view, "radius": 0.2}
    pgd = {k: kc.recipes.adversarial_training(student(), steps=k, step_size=0.05, **attack) for k in (1, 5, 10)}
    fgsm = kc.recipes.adversarial_training(student(), steps=1, step_size=0.2, random_start=False, **attack)
    vat = kc.recipes.vat(student(), weak=view, entropy_scale=0, ramp_up_steps=0)
    return {
        "FGSM": (fgsm, 1, 2.05),
        **{f"PGD-{k}": (model, 1, k + 1.1) for k, model in pgd.items()},
        "VAT, one power iteration": (vat, 2, 1.9),
        "TRADES, PGD-5": (kc.recipes.trades(student(), steps=5, step_size=0.05, **attack), 1, None),
        "ALP, PGD-5": (kc.recipes.alp(student(), steps=5, step_size=0.05, **attack), 1, None),
    }


def main(argv):
    """Measures each row beside supervised training."""
    del argv
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (2 * IMAGES.value, *SHAPE)).astype("float32")
    y = rng.integers(0, CLASSES, 2 * IMAGES.value)
    some = (x[: IMAGES.value], y[: IMAGES.value])
    made = rows(lambda: build_student(SHAPE, CLASSES), keras.layers.Identity())
    units = {1: repeated(some, STEPS_PER_TURN.value), 2: repeated((x, y), STEPS_PER_TURN.value)}
    pair = ({"labeled": some[0], "unlabeled": x[IMAGES.value :]}, some[1])
    supervised = compiled(build_student(SHAPE, CLASSES))
    table = {}
    print(f"{'':26}{'step ms':>10}{'unit ms':>10}{'ratio':>8}{'least':>8}{'most':>8}{'bound':>8}")
    for name, (model, images, bound) in made.items():
        compiled(model)
        data = units[1] if images == 1 else repeated(pair, STEPS_PER_TURN.value)
        seconds(model, data), seconds(supervised, units[images])
        pairs = [(seconds(model, data), seconds(supervised, units[images])) for _ in range(TURNS.value)]
        ratios = sorted(mine / unit for mine, unit in pairs)
        mine, unit = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(ratios)
        table[name] = {"step_ms": mine, "unit_ms": unit, "ratio": ratio, "bound": bound}
        print(
            f"{name:26}{mine:>10.1f}{unit:>10.1f}{ratio:>8.2f}{ratios[0]:>8.2f}{ratios[-1]:>8.2f}{bound or '':>8}",
            flush=True,
        )
    if RESULTS.value:
        written = {"time": time.strftime("%Y-%m-%d"), "images": IMAGES.value, "turns": TURNS.value, "rows": table}
        pathlib.Path(RESULTS.value).write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
