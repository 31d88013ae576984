"""The time of a training step, as the benchmarks of steps measure it."""

import statistics
import time

import keras
import numpy as np
import tensorflow as tf


def compiled(model):
    """The model with the loss, optimizer and metric that both sides use."""
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def repeated(batch, steps):
    """A data set that gives one batch again and again."""
    return tf.data.Dataset.from_tensors(batch).repeat(steps).prefetch(2)


class StepTimes(keras.callbacks.Callback):
    """When each step ended, in seconds: what `fit` does before and after its steps stays out."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())


def seconds(model, data):
    """Seconds of the median step of one turn."""
    times = StepTimes()
    model.fit(data, verbose=0, shuffle=False, callbacks=[times])
    return statistics.median(np.diff(times.ends))
