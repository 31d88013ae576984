"""How many troubles of a training the detectors of `keras_consistency.stability` find, and how often they are wrong.

    python -m benchmarks.stability

Feeds them with the corpus of `benchmarks.stability_histories`. A trouble is found where an event names its cause, or
another that is a name for it as well, from its onset to 50 steps later; of overfitting, to two epochs later where that
is longer. Overfitting and plateaus come on slowly: of these, an event counts from four epochs, or 500 steps, before the
onset on. An event in a healthy history, or before the onset of a trouble, is a false alarm. Events of other causes
after an onset are neither; they are counted. Printed is a table for the histories that thresholds were chosen on and
for those held out, then the time that a step takes. Takes about a minute on one core.
"""

import json
import pathlib
import statistics
import time

from absl import app, flags

from benchmarks import stability_histories
from benchmarks.stability_judge import table
from keras_consistency.stability import Detectors

SEEDS = flags.DEFINE_integer("seeds", 40, "Synthetic histories a cause; thrice as many healthy ones.", lower_bound=2)
SENSITIVITY = flags.DEFINE_float("sensitivity", 1.0, "Of the detectors.")
MISSES = flags.DEFINE_bool("misses", False, "List what was missed and what was a false alarm, of the tuned half.")
RESULTS = flags.DEFINE_string(
    "results", str(pathlib.Path(__file__).parent / "results" / "stability.json"), "JSON file to write, or none."
)


def microseconds(history, turns=5):
    """Median time of an update, in microseconds."""
    times = []
    for _ in range(turns):
        detectors, start = Detectors(), time.process_time()
        for step, record in enumerate(history.records, 1):
            detectors.update(step, record)
        times.append(1e6 * (time.process_time() - start) / len(history.records))
    return statistics.median(times)


def parts(histories):
    """The histories by where they come from and whether they were held out."""
    for held_out in (False, True):
        for recorded in (True, False):
            chosen = [each for each in histories if each.held_out == held_out and each.recorded == recorded]
            yield f"{'recorded' if recorded else 'synthetic'}, {'held out' if held_out else 'tuned on'}", chosen


def main(argv):
    """Judges the corpus, prints the figures and writes them."""
    del argv
    histories = stability_histories.corpus(SEEDS.value)
    results = {}
    for name, chosen in parts(histories):
        results[name], listed = table(chosen, sensitivity=SENSITIVITY.value)
        figures = results[name]
        print(
            f"\n{name}: {figures['histories']} histories, {figures['healthy_steps']:,} healthy steps, "
            f"{figures['false_alarms']} false alarms ({figures['false_alarms_per_10000']:.2f} in 10,000), "
            f"{figures['other_events']} events of other causes\n\n| cause | troubles | found | by its name | delay |"
        )
        print("|--|--:|--:|--:|--:|")
        for cause, row in figures["causes"].items():
            if row["troubles"]:
                shares = " | ".join(f"{row[key] / row['troubles']:.0%}" for key in ("found", "named"))
                print(f"| {cause} | {row['troubles']} | {shares} | {row['median_delay']} |")
        if MISSES.value and "tuned" in name:
            print(*(f"{history}: {what}" for history, what in listed), sep="\n")
    with_terms = next(each for each in histories if "u_agreement" in each.records[0] and each.cause is None)
    results["microseconds_a_step"] = round(microseconds(with_terms), 1)
    print(f"\n{results['microseconds_a_step']} microseconds a step, with all signals.")
    if RESULTS.value:
        pathlib.Path(RESULTS.value).write_text(
            json.dumps({"time": time.strftime("%Y-%m-%d"), "seeds": SEEDS.value, **results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    app.run(main)
