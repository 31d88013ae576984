"""Every recipe on few labels: test accuracy, seed by seed, against the supervised baseline of the same budget.

    python -m benchmarks.recipes

The table of the README. A run is that of `examples/train_image.py`: the same network, labels, augmentation and steps
for all, the moving average after the last step, no checkpoint picked. Finished runs are kept in the results file, so
that the command can be stopped and started again; name another file, or remove it, to measure anew. `NAME:defaults` is
a recipe without the example's settings for it, with the paper's defaults.
"""

import statistics

from absl import app, flags, logging

import keras_consistency as kc
from benchmarks import harness
from examples import train_image

SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds: each draws other labels, weights and views.")
RECIPES = flags.DEFINE_list(
    "recipes",
    ["supervised", *kc.recipes.available(), *(f"{name}:defaults" for name in train_image.SETTINGS)],
    "What to run.",
)
RESULTS = flags.DEFINE_string("results", "runs/benchmark-recipes.json", "File of finished runs.")
HOLD_OUT = flags.DEFINE_integer(
    "hold_out",
    0,
    "Measure on so many training images, taken out of the training, instead of on the test images: to tune.",
    lower_bound=0,
)


def markdown(results, seeds):
    """The table: mean, spread (highest less lowest) and each seed's accuracy, and the cost, also as a multiple of the
    supervised run's.
    """
    base = (
        statistics.median(run["seconds"] for run in results["supervised"].values()) if "supervised" in results else None
    )
    lines = [
        "| Recipe | Mean | Spread | " + " | ".join(f"Seed {seed}" for seed in seeds) + " | CPU s | Supervised's |",
        "|--|--:|--:|" + "--:|" * (len(seeds) + 2),
    ]
    for name, runs in results.items():
        accuracies = [100 * runs[seed]["accuracy"] for seed in seeds if seed in runs]
        if not accuracies:
            continue
        seconds = statistics.median(run["seconds"] for run in runs.values())
        columns = [f"{100 * runs[seed]['accuracy']:.1f}" if seed in runs else "" for seed in seeds]
        times = f"× {seconds / base:.1f}" if base else ""
        mean = f"**{statistics.mean(accuracies):.1f}** | {max(accuracies) - min(accuracies):.1f}"
        lines.append(f"| {name} | {mean} | {' | '.join(columns)} | {seconds:.0f} | {times} |")
    return "\n".join(lines)


def main(argv):
    """Runs what is not in the results file yet, then prints the table."""
    del argv
    logging.set_verbosity(logging.WARNING)
    known = {"supervised", *kc.recipes.available()}
    if unknown := {name.partition(":")[0] for name in RECIPES.value} - known:
        raise app.UsageError(f"--recipes must be of {sorted(known)}. Received: {sorted(unknown)}")
    budget = {
        "dataset": train_image.DATASET.value,
        "hold_out": HOLD_OUT.value,
        "labels": train_image.LABELS.value,
        "steps": train_image.STEPS.value,
        "batch_size": train_image.BATCH_SIZE.value,
        "ratio": train_image.RATIO.value,
        "learning_rate": train_image.LEARNING_RATE.value,
        "flip": train_image.FLIP.value,
    }
    finished = harness.Finished(RESULTS.value, budget)
    train_data, test_data = harness.split(*kc.datasets.load(train_image.DATASET.value), hold_out=HOLD_OUT.value)
    settings = {name: value for name, value in budget.items() if name not in ("dataset", "hold_out")}
    for seed in SEEDS.value:
        for name in RECIPES.value:
            if seed in finished.runs.get(name, {}):
                continue
            recipe, _, defaults = name.partition(":")
            recipe = None if recipe == "supervised" else recipe
            _, result = train_image.train(
                recipe, train_data, test_data, seed=int(seed), defaults=bool(defaults), verbose=0, **settings
            )
            curve = [round(value, 4) for value in result["history"]["val_accuracy"]]
            kept = {
                "accuracy": round(result["accuracy"], 4),
                "seconds": round(result["cpu_seconds"], 1),
                "curve": curve,
            }
            finished.add(name, seed, kept)
            print(f"{name} seed {seed}: {result['accuracy']:.4f} in {result['cpu_seconds']:.0f} CPU s", flush=True)
    print(f"\n{budget}\n\n{markdown(finished.runs, SEEDS.value)}")


if __name__ == "__main__":
    app.run(main)
