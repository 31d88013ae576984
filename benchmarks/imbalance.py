"""Long-tailed data: balanced accuracy of what the library has against class imbalance, seed by seed.

    python -m benchmarks.imbalance

Of mnist5k's training images, classes 0 to 9 shrink exponentially, 50 labels to 1, and the unlabelled images with them,
400 to 8. The test images are balanced, and so the mean recall of the classes is measured. A row is `supervised` or
`fixmatch` and what is added to it, joined by `+`:

- `balanced`: every batch draws the labelled classes equally often (`kc.data.pair(..., balanced=True)`),
- `logit`: the supervised loss is `kc.losses.LogitAdjustedCrossentropy`,
- `effective`: it is weighed by `kc.weights.EffectiveNumber`,
- `confidence`: the threshold of unlabelled images is `kc.weights.BalancedConfidence`,
- `alignment`: `kc.alignments.DistributionAlignment` to the share of each class in the labels.

Network, views, optimizer and budget are those of `examples/train_image.py`, whose flags hold here too; the moving
average is measured after the last step, no checkpoint is picked. Finished runs are kept in the results file, so that
the command can be stopped and started again. Tune with `--hold_out` alone.
"""

import statistics
import time

import keras
import numpy as np
from absl import app, flags, logging

import keras_consistency as kc
from benchmarks import harness
from examples import train_image

BASES = ("supervised", "fixmatch")
OPTIONS = ("balanced", "logit", "effective", "confidence", "alignment")
ROWS = [
    "supervised",
    "supervised+balanced",
    "supervised+logit",
    "supervised+effective",
    "fixmatch",
    "fixmatch+balanced",
    "fixmatch+logit",
    "fixmatch+effective",
    "fixmatch+confidence",
    "fixmatch+alignment",
    "fixmatch+balanced+confidence",
    "fixmatch+balanced+alignment",
    "fixmatch+logit+confidence",
    "fixmatch+logit+alignment",
    "fixmatch+effective+confidence",
]
RAREST = 3  # classes whose recall the table shows apart

SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds: each draws other images, weights and views.")
RUNS = flags.DEFINE_list("rows", ROWS, "What to run.")
RESULTS = flags.DEFINE_string("results", "runs/benchmark-imbalance.json", "File of finished runs.")
IMBALANCE = flags.DEFINE_float("imbalance", 50, "How many times larger the first class is than the last.")
LARGEST_LABELED = flags.DEFINE_integer("largest_labeled", 50, "Labelled images of the first class.")
LARGEST_UNLABELED = flags.DEFINE_integer("largest_unlabeled", 400, "Unlabelled images of the first class, at most.")
HOLD_OUT = flags.DEFINE_integer(
    "hold_out",
    0,
    "Measure on so many training images, taken out of the training, instead of on the test images: to tune.",
    lower_bound=0,
)


def long_tailed(x, y, *, largest_labeled, largest_unlabeled, imbalance, seed):
    """`(x, y)` of the labelled images and `x` of the unlabelled, which hold the labelled."""
    largest_unlabeled = min(largest_unlabeled, int(np.bincount(y)[0]))
    labeled = kc.datasets.long_tailed_indices(y, largest=largest_labeled, imbalance=imbalance, seed=seed)
    unlabeled = kc.datasets.long_tailed_indices(y, largest=largest_unlabeled, imbalance=imbalance, seed=seed)
    return (x[labeled], y[labeled]), x[unlabeled]


def build_model(row, student, counts, *, flip, seed):
    """The model of a row, not compiled; `counts` are the labels of each class."""
    base, *options = row.split("+")
    weak = kc.augment.image.weak(flip=flip, seed=seed)
    confidence = kc.weights.BalancedConfidence if "confidence" in options else kc.weights.Confidence
    prior = (counts / counts.sum()).tolist()
    fixmatch = kc.Consistency(
        teacher_view=weak,
        student_view=kc.augment.image.strong(flip=flip, seed=seed + 1),
        target=kc.targets.Hard(),
        weight=confidence(threshold=0.95),
        alignment=kc.alignments.DistributionAlignment(prior=prior) if "alignment" in options else None,
        divergence=kc.divergences.CrossEntropy(),
    )
    return kc.ConsistencyModel(
        student,
        [] if base == "supervised" else [fixmatch],
        teacher=kc.teachers.EMA(targets_from="student"),
        labeled_view=weak,
        labeled_weight=kc.weights.EffectiveNumber(counts) if "effective" in options else None,
        seed=seed,
    )


def recalls(model, x, y):
    """Share of each class that is recognised, `(classes,)`."""
    predicted = model.predict(x, batch_size=500, verbose=0).argmax(axis=-1)
    return np.array([np.mean(predicted[y == label] == label) for label in np.unique(y)])


def run(row, train_data, test_data, *, steps, batch_size, ratio, learning_rate, flip, seed, **tail):
    """Trains one model and measures it.

    Args:
        row: what to train, as in `--rows`.
        train_data, test_data: `(images, labels)` arrays; the first is cut to a long tail.
        steps, batch_size, ratio, learning_rate, flip, seed: as the flags.
        **tail: `largest_labeled`, `largest_unlabeled` and `imbalance`, as the flags.

    Returns:
        A dictionary with `balanced_accuracy`, `rarest` (that of the last three classes), `recalls`, and `seconds` of
        the CPU.
    """
    base, *options = row.split("+")
    keras.utils.set_random_seed(seed)
    (x, y), unlabeled = long_tailed(*train_data, **tail, seed=seed)
    counts = np.bincount(y)
    student = train_image.build_student(x.shape[1:], len(counts))
    model = build_model(row, student, counts, flip=flip, seed=seed)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.1)),
        loss=kc.losses.LogitAdjustedCrossentropy(counts) if "logit" in options else plain,
    )
    data = kc.data.pair(
        (x, y),
        unlabeled,
        batch_size=batch_size,
        ratio=ratio,
        steps=steps,
        seed=seed,
        balanced="balanced" in options,
    )
    if base == "supervised":
        data = data.map(lambda inputs, y: (inputs["labeled"], y))
    start = time.process_time()
    model.fit(data, verbose=0, shuffle=False)
    seconds = time.process_time() - start
    found = recalls(model, *test_data)
    return {
        "balanced_accuracy": round(float(found.mean()), 4),
        "rarest": round(float(found[-RAREST:].mean()), 4),
        "recalls": found.round(4).tolist(),
        "seconds": round(seconds, 1),
    }


def markdown(results, rows, seeds):
    """The table: balanced accuracy, mean and each seed's, and the mean recall of the rarest classes."""
    columns = " | ".join(f"Seed {seed}" for seed in seeds)
    lines = [
        f"| Row | Balanced accuracy | {columns} | Rarest {RAREST} | CPU s |",
        "|--|--:|" + "--:|" * (len(seeds) + 2),
    ]
    for row in rows:
        runs = [results[row][seed] for seed in seeds]
        mean, rarest = (100 * statistics.mean(run[key] for run in runs) for key in ("balanced_accuracy", "rarest"))
        columns = " | ".join(f"{100 * run['balanced_accuracy']:.1f}" for run in runs)
        seconds = statistics.median(run["seconds"] for run in runs)
        lines.append(f"| {row} | **{mean:.1f}** | {columns} | {rarest:.1f} | {seconds:.0f} |")
    return "\n".join(lines)


def main(argv):
    """Runs what is not in the results file yet, then prints the table."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)
    for row in RUNS.value:
        base, *options = row.split("+")
        if base not in BASES or not set(options) <= set(OPTIONS):
            raise app.UsageError(
                f"--rows must be one of {list(BASES)}, then any of {list(OPTIONS)}, joined by +. Received: {row}"
            )
    budget = {
        "dataset": train_image.DATASET.value,
        "hold_out": HOLD_OUT.value,
        "steps": train_image.STEPS.value,
        "batch_size": train_image.BATCH_SIZE.value,
        "ratio": train_image.RATIO.value,
        "learning_rate": train_image.LEARNING_RATE.value,
        "flip": train_image.FLIP.value,
        "imbalance": IMBALANCE.value,
        "largest_labeled": LARGEST_LABELED.value,
        "largest_unlabeled": LARGEST_UNLABELED.value,
    }
    finished = harness.Finished(RESULTS.value, budget)
    train_data, test_data = harness.split(*train_image.load_images(train_image.DATASET.value), hold_out=HOLD_OUT.value)
    settings = {name: value for name, value in budget.items() if name not in ("dataset", "hold_out")}
    for seed in SEEDS.value:
        for row in RUNS.value:
            if seed in finished.runs.get(row, {}):
                continue
            result = run(row, train_data, test_data, seed=int(seed), **settings)
            finished.add(row, seed, result)
            print(f"{row} seed {seed}: {result['balanced_accuracy']:.4f} in {result['seconds']:.0f} CPU s", flush=True)
    print(f"\n{budget}\n\n{markdown(finished.runs, RUNS.value, SEEDS.value)}")


if __name__ == "__main__":
    app.run(main)
