"""What a consistency step costs beside the arithmetic that it cannot do without.

    python -m benchmarks.step_cost

The bound is Keras's own `fit` on as many student samples (labelled and unlabelled) with one forward of the teacher on
the unlabelled ones in the same step. Views are the identity on both sides: what is compared is the step. Both models
take turns in one process; printed are medians and the median of the paired ratios, since machines drift.
"""

import os
import statistics

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import keras_consistency as kc  # noqa: E402
from benchmarks.step_time import compiled, repeated, seconds  # noqa: E402
from examples.train_image import build_student  # noqa: E402

LABELED = flags.DEFINE_integer("labeled", 32, "Labelled images a step.", lower_bound=1)
UNLABELED = flags.DEFINE_integer("unlabeled", 96, "Unlabelled images a step.", lower_bound=1)
STEPS_PER_TURN = flags.DEFINE_integer("steps_per_turn", 30, "Steps timed at once.", lower_bound=2)
TURNS = flags.DEFINE_integer("turns", 15, "Turns of each model, after one to warm up.", lower_bound=1)
SHAPE, CLASSES = (28, 28, 1), 10


class Bound(keras.Model):
    """Keras's own step on all samples of the student, after one forward of the teacher."""

    def __init__(self, student, teacher, training):
        super().__init__()
        self.student = student
        self.teacher = teacher
        for variable in teacher.variables:
            variable.trainable = False
        self.training = training
        self.built = True

    def call(self, inputs, training=False):
        return self.student(inputs, training=training)

    def train_step(self, data):
        (inputs, unlabeled), y = data
        answer = self.teacher(unlabeled, training=self.training)
        # Reported, as a forward that nothing reads would be optimised away.
        return {**super().train_step((inputs, y)), "answer": tf.reduce_mean(answer)}


def main(argv):
    """Measures FixMatch and Mean Teacher."""
    del argv
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (LABELED.value, *SHAPE)).astype("float32")
    u = rng.uniform(0, 255, (UNLABELED.value, *SHAPE)).astype("float32")
    y = rng.integers(0, CLASSES, LABELED.value)
    everything = np.concatenate([x, u])
    all_labels = np.concatenate([y, rng.integers(0, CLASSES, UNLABELED.value)])

    print(f"{'':14}{'step ms':>10}{'bound ms':>10}{'ratio':>8}{'least':>8}{'most':>8}")
    for name, views in (("fixmatch", ("weak", "strong")), ("mean_teacher", ("weak",))):
        model = compiled(
            getattr(kc.recipes, name)(
                build_student(SHAPE, CLASSES), **{view: keras.layers.Identity() for view in views}
            )
        )
        bound = Bound(build_student(SHAPE, CLASSES), build_student(SHAPE, CLASSES), training=model.teacher.training)
        bound = compiled(bound)
        ours = repeated(({"labeled": x, "unlabeled": u}, y), STEPS_PER_TURN.value)
        theirs = repeated(((everything, u), all_labels), STEPS_PER_TURN.value)
        seconds(model, ours), seconds(bound, theirs)
        pairs = [(seconds(model, ours), seconds(bound, theirs)) for _ in range(TURNS.value)]
        ratios = sorted(mine / least for mine, least in pairs)
        mine, least = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:14}{mine:>10.1f}{least:>10.1f}{statistics.median(ratios):>8.3f}{ratios[0]:>8.3f}{ratios[-1]:>8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
