"""The most memory that one call of a view takes beside its input, over the bytes of the input.

    MALLOC_MMAP_THRESHOLD_=65536 python -m benchmarks.peak_memory --row="RandAugment + Cutout"

It prints one number. The output counts: a view that keeps uint8 takes 1 for it, one that returns float32 takes 4. The
call runs on its own in a graph, which it makes and compiles, after one on two images. The variable makes the C library
give back at once what is freed. Linux only.
"""

import os

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks import image_views  # noqa: E402


def _status(key):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def peak(view, images):
    """Bytes at the peak of a call, beside those held before it, over the bytes of `images`."""
    function, seed, images = tf.function(view), tf.constant([3, 7], tf.int64), tf.constant(images)
    function(images[:2], seed)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")  # the high-water mark starts anew
    before = _status("VmRSS")
    function(images, seed)
    return (_status("VmHWM") - before) / int(tf.size(images))


def main(argv):
    """Measures one view."""
    del argv
    shape = (flags.FLAGS.batch_size, flags.FLAGS.side, flags.FLAGS.side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    view = image_views.rows()[flags.FLAGS.row].makers[flags.FLAGS.contender]()
    print(f"{peak(view, images):.3f}")


if __name__ == "__main__":
    flags.DEFINE_string("row", None, "What to measure, a row of benchmarks.augmentation.", required=True)
    flags.DEFINE_string("contender", image_views.OURS, "Whose.")
    flags.DEFINE_integer("batch_size", 256, "Images.", lower_bound=1)
    flags.DEFINE_integer("side", 224, "Their height and width.", lower_bound=1)
    app.run(main)
