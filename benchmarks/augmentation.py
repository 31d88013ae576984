"""How fast views of images are made, beside Keras's own, KerasCV's, and PIL in one and two processes.

    python -m benchmarks.augmentation

Every contender gets uint8 batches and runs as in training: TensorFlow's in a `tf.data` pipeline that makes two batches
at once, PIL's image by image in processes of its own. They take turns; printed are the median images a second, and the
median of the paired ratios with the least and the most. Ours draws for each image on its own; Keras's RandAugment draws
its operations once for a batch. A layer does what it does by default. Keras's and KerasCV's RandAugment are spared the
Cutout. Then the memory that one call takes at its peak beside its input, over the bytes of the input. KerasCV is
measured where it can be imported (`pip install keras-cv`).

The bounds are for two cores (`taskset -c 0,1` where there are more), on which it takes about half an hour; `--quick`
takes a few shorter turns, and `--rows` names some rows (all whose name contains one of the words).
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks import image_views, pil_augment, throughput  # noqa: E402
from benchmarks.image_views import KERAS, KERAS_CV, OURS, PIL_1, PIL_2  # noqa: E402

SHAPES = {"small": (128, 32, 32, 3), "large": (16, 224, 224, 3)}
MEMORY_SHAPE = (256, 224, 224, 3)
MEMORY_BOUND = 4
PROCESSES = {PIL_1: 1, PIL_2: 2}
RESULTS = pathlib.Path(__file__).parent / "results" / "augmentation.json"


def measure(makers, images, *, cores, turns, seconds):
    """Images a second of each contender in each turn."""
    contenders = {}
    try:
        for name, maker in makers.items():
            if name in PROCESSES:
                contenders[name] = pil_augment.Processes(images, PROCESSES[name])
            else:
                contenders[name] = throughput.Pipeline(maker(), images, parallel_calls=cores)
        return throughput.take_turns(contenders, len(images), turns=turns, seconds=seconds)
    finally:
        for contender in contenders.values():
            contender.close()


def peak_memory(row, contender):
    """Peak memory of one call, in batches, measured in a process of its own."""
    batch_size, side, _, _ = MEMORY_SHAPE
    command = [sys.executable, "-m", "benchmarks.peak_memory", f"--row={row}", f"--contender={contender}"]
    done = subprocess.run(
        [*command, f"--batch_size={batch_size}", f"--side={side}"],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def summary(rates, bounds, large):
    """What is kept of a row: rates, and the ratios of ours to the others'."""
    result = {"images_per_second": {name: statistics.median(each) for name, each in rates.items()}, "ratios": {}}
    for name in rates:
        if name != OURS:
            middle, least, most = throughput.ratio(rates[OURS], rates[name])
            result["ratios"][name] = {"median": middle, "least": least, "most": most}
            if (name, large) in bounds:
                result["ratios"][name]["bound"] = bounds[name, large]
    return result


def line(name, result):
    """A row of the table of rates."""
    cells = [name, f"{result['images_per_second'][OURS]:,.0f}"]
    for other in (KERAS, KERAS_CV, PIL_1, PIL_2):
        if other not in result["ratios"]:
            cells.append("–")
            continue
        ratio = result["ratios"][other]
        bound = f", of {ratio['bound']}" if "bound" in ratio else ""
        rate = result["images_per_second"][other]
        cells.append(f"{rate:,.0f}: × {ratio['median']:.2f} ({ratio['least']:.2f} – {ratio['most']:.2f}{bound})")
    return f"| {' | '.join(cells)} |"


def misses(results):
    """What falls short of its bound, as lines of text."""
    found = []
    for size in SHAPES:
        for name, result in results[size].items():
            for other, ratio in result["ratios"].items():
                if ratio["median"] < ratio.get("bound", 0):
                    found.append(f"{name}, {size}: × {ratio['median']:.2f} of {other}'s rate, not {ratio['bound']}")
    for name, peaks in results["memory"].items():
        if peaks[OURS] > MEMORY_BOUND:
            found.append(f"{name}: {peaks[OURS]:.2f} batches of memory, not {MEMORY_BOUND}")
    return found


def rate_table(rows, size, **turns):
    """Measures the rows on one kind of batches, prints them, and returns them."""
    shape, results = SHAPES[size], {}
    images = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    print(f"\nImages a second, batches of {' × '.join(map(str, shape))}, and how many times as fast ours is:\n")
    print(f"| | ours | Keras | KerasCV | {PIL_1} | {PIL_2} |\n|--|--:|--:|--:|--:|--:|")
    for name, row in rows.items():
        results[name] = summary(measure(row.makers, images, **turns), row.bounds, large=size == "large")
        print(line(name, results[name]), flush=True)
    return results


def memory_table(rows):
    """Measures the memory of the rows, prints it, and returns it."""
    results = {}
    print(f"\nMemory at the peak of one call on {' × '.join(map(str, MEMORY_SHAPE))}, in batches:\n")
    print("| | ours | Keras |\n|--|--:|--:|")
    for name, row in rows.items():
        # Keras's where ours is to be no worse.
        results[name] = {other: peak_memory(name, other) for other in ((OURS, KERAS) if row.bounds else (OURS,))}
        cells = [f"{results[name][other]:.2f}" if other in results[name] else "–" for other in (OURS, KERAS)]
        print(f"| {' | '.join([name, *cells])} |", flush=True)
    return results


def define_flags():
    """Defines the flags, here and not on import: the worker processes import this module too."""
    flags.DEFINE_integer("turns", 7, "Turns of each contender, after one to warm up.", lower_bound=1)
    flags.DEFINE_float("seconds", 0.5, "How long a turn should last.", lower_bound=0.0)
    flags.DEFINE_bool("quick", False, "Three turns of 0.3 seconds, and no memory.")
    flags.DEFINE_list("rows", [], "Words: rows whose name contains one. Default: all rows.")
    flags.DEFINE_multi_enum("size", list(SHAPES), list(SHAPES), "Which batches: 128 × 32×32×3, 16 × 224×224×3.")
    flags.DEFINE_string("results", None, f"JSON file to write. Default: {RESULTS.name}, if nothing was left out.")


def main(argv):
    """Measures and prints row by row."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    wanted, quick = flags.FLAGS.rows, flags.FLAGS.quick
    rows = image_views.rows()
    if wanted:
        rows = {name: row for name, row in rows.items() if any(word.lower() in name.lower() for word in wanted)}
    if not rows:
        raise app.UsageError(f"--rows must name some of {list(image_views.rows())}. Received: {wanted}")
    turns, seconds = (3, 0.3) if quick else (flags.FLAGS.turns, flags.FLAGS.seconds)
    turns = {"cores": len(os.sched_getaffinity(0)), "turns": turns, "seconds": seconds}
    setting = turns | {"tensorflow": tf.__version__, "keras": keras.__version__}
    setting |= {"keras_cv": getattr(image_views.keras_cv, "__version__", "absent")}
    print(", ".join(f"{key} {value}" for key, value in setting.items()))
    if os.getloadavg()[0] > 0.5:
        print("Other work is running on this machine, which falls on contenders unevenly: figures are rough.")

    results = {"setting": setting, **{size: {} for size in SHAPES}, "memory": {}}
    for size in flags.FLAGS.size:
        results[size] = rate_table(rows, size, **turns)
    if not quick:
        results["memory"] = memory_table(rows)
    short = misses(results)
    print("\n" + "\n".join(["Short of its bound:", *short] if short else ["Every bound is met."]))
    complete = not quick and not wanted and set(flags.FLAGS.size) == set(SHAPES)
    path = flags.FLAGS.results or (RESULTS if complete else None)
    if path:
        pathlib.Path(path).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    define_flags()
    app.run(main)
