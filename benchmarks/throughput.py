"""How many images a second several contenders make, taking turns, since machines drift."""

import statistics
import time

import tensorflow as tf


class Pipeline:
    """A view in a `tf.data` pipeline, as training runs it.

    Args:
        view: callable `(images, seed) -> anything`, with a seed of shape `(2,)`, int64.
        images: uint8 `(batch, height, width, channels)`.
        parallel_calls: batches to make at once.
    """

    def __init__(self, view, images, parallel_calls):
        batches = tf.data.Dataset.from_tensors(images).repeat()
        batches = tf.data.Dataset.zip((batches, tf.data.Dataset.counter()))
        self._batches = batches.map(
            lambda images, step: view(images, tf.stack([step, 7])), num_parallel_calls=parallel_calls
        )
        self._take = tf.function(_take)
        self._in_flight = 2 * parallel_calls

    def seconds(self, batches):
        """Seconds for so many batches of a pipeline that is full, before and after."""
        iterator = iter(self._batches)
        self._take(iterator, tf.constant(self._in_flight))
        start = time.perf_counter()
        self._take(iterator, tf.constant(batches))
        return time.perf_counter() - start

    def close(self):
        """Nothing is left open."""


def _take(iterator, batches):
    for _ in tf.range(batches):
        next(iterator)


def take_turns(contenders, batch_size, *, turns, seconds):
    """Images a second of each contender, in each of several turns.

    Args:
        contenders: dictionary of objects with `seconds(batches)`.
        batch_size: images of a batch.
        turns: turns of each contender, one after the other, after one to warm up.
        seconds: how long a turn should last. It has 4 batches at least.

    Returns:
        A dictionary of lists.
    """
    batches = {}
    for name, contender in contenders.items():
        contender.seconds(2)
        batches[name] = max(4, round(4 * seconds / contender.seconds(4)))
    rates = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            rates[name].append(batch_size * batches[name] / contender.seconds(batches[name]))
    return rates


def ratio(ours, theirs):
    """Median, least and most of the paired ratios of two lists of rates."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
