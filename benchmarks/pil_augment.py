"""RandAugment and Cutout as most input pipelines run them: image by image in Python, with PIL, in worker processes.

Written from the papers, to measure against: Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a
Reduced Search Space", 2019, https://arxiv.org/abs/1909.13719, with the ranges in the table of Sohn et al., "FixMatch",
2020, appendix D, https://arxiv.org/abs/2001.07685, and DeVries and Taylor, "Improved Regularization of Convolutional
Neural Networks with Cutout", 2017, https://arxiv.org/abs/1708.04552.
"""

import multiprocessing
import random
import time

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

GREY = (127, 127, 127)
BATCHES_IN_MEMORY = 4  # as many as workers may fill before anyone reads them
_worker = {}


def _affine(image, *coefficients):
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=GREY)


# (image, strength in [0, 1], sign) -> image.
OPERATIONS = (
    lambda image, s, sign: image,
    lambda image, s, sign: ImageOps.autocontrast(image),
    lambda image, s, sign: ImageOps.equalize(image),
    lambda image, s, sign: image.rotate(sign * 30 * s, Image.Resampling.BILINEAR, fillcolor=GREY),
    lambda image, s, sign: ImageOps.solarize(image, 256 - int(256 * s)),
    lambda image, s, sign: ImageEnhance.Color(image).enhance(1 - 0.95 * s),
    lambda image, s, sign: ImageOps.posterize(image, 8 - round(4 * s)),
    lambda image, s, sign: ImageEnhance.Contrast(image).enhance(1 - 0.95 * s),
    lambda image, s, sign: ImageEnhance.Brightness(image).enhance(1 - 0.95 * s),
    lambda image, s, sign: ImageEnhance.Sharpness(image).enhance(1 - 0.95 * s),
    lambda image, s, sign: _affine(image, 1, sign * 0.3 * s, 0, 0, 1, 0),
    lambda image, s, sign: _affine(image, 1, 0, 0, sign * 0.3 * s, 1, 0),
    lambda image, s, sign: _affine(image, 1, 0, sign * 0.3 * s * image.width, 0, 1, 0),
    lambda image, s, sign: _affine(image, 1, 0, 0, 0, 1, sign * 0.3 * s * image.height),
)


def augment(array, draw, num_ops=2):
    """One image, uint8 `(height, width, 3)`: operations drawn with a `random.Random`, then a grey square."""
    image = Image.fromarray(array)
    for _ in range(num_ops):
        image = draw.choice(OPERATIONS)(image, draw.random(), draw.choice((-1, 1)))
    output = np.array(image)
    height, width, _ = output.shape
    side = round(0.5 * min(height, width) * draw.random())
    top, left = draw.randrange(height) - side // 2, draw.randrange(width) - side // 2
    output[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = GREY
    return output


def _start(images, outputs, shape):
    _worker["images"] = np.frombuffer(images, np.uint8).reshape(shape)
    _worker["outputs"] = np.frombuffer(outputs, np.uint8).reshape((BATCHES_IN_MEMORY, *shape))


def _augment_batch(number):
    draw = random.Random(number)
    output = _worker["outputs"][number % BATCHES_IN_MEMORY]
    for row, image in enumerate(_worker["images"]):
        output[row] = augment(image, draw)


class Processes:
    """Worker processes that share a batch of images, and the memory for what they make of it: nothing is sent.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        processes: how many.
    """

    def __init__(self, images, processes):
        context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
        shared, outputs = context.RawArray("B", images.size), context.RawArray("B", BATCHES_IN_MEMORY * images.size)
        np.frombuffer(shared, np.uint8)[:] = images.reshape(-1)
        self._pool = context.Pool(processes, _start, (shared, outputs, images.shape))
        self._processes = processes

    def seconds(self, batches):
        """Seconds for so many batches, after one for each process to warm up."""
        self._pool.map(_augment_batch, range(self._processes), chunksize=1)
        start = time.perf_counter()
        self._pool.map(_augment_batch, range(batches), chunksize=1)
        return time.perf_counter() - start

    def close(self):
        """Ends the processes."""
        self._pool.terminate()
        self._pool.join()
