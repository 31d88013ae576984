"""Input pipelines: pairs of labelled and unlabelled batches, and the views that are made before the model sees them."""

import inspect
import math

import numpy as np
import tensorflow as tf

from keras_consistency import balance, remote, sources
from keras_consistency.ops import random

_RESERVED = ("labeled", "unlabeled", "index")


def pair(
    labeled, unlabeled, *, batch_size, ratio=7, shuffle=True, seed=None, indexed=False, steps=None, balanced=False
):
    """Batches that hold labelled and unlabelled examples side by side, for `ConsistencyModel.fit`.

    Every step brings `batch_size` labelled examples, repeated without end, and `batch_size * ratio` unlabelled ones. An
    epoch is one pass over the unlabelled examples, or `steps` steps. An example comes back only after a full pass over
    its data set; incomplete batches are dropped, so that all shapes are static and `tf.distribute` splits every key
    evenly.

    Args:
        labeled: `(x, y)` or `(x, y, sample_weight)` of arrays, or a `tf.data.Dataset` of such examples, unbatched. `x`
            may be a dictionary (or tuple) of arrays. `y` is passed on as it is: class numbers, one-hot rows, or
            targets.
        unlabeled: Inputs of the same structure, shapes and dtypes as `x`: arrays, or an unbatched `tf.data.Dataset`. It
            has no labels: drop them with `unlabeled.map(lambda x, y: x)`.
        batch_size: Labelled examples a step, over all replicas; a multiple of the number of replicas.
        ratio: Unlabelled examples for each labelled one, a number above 0 for which `batch_size * ratio` is whole.
        shuffle: Whether to reshuffle in each epoch. Arrays are shuffled whole. A `tf.data.Dataset` is shuffled within a
            buffer of 10,000 examples; an integer sets another size.
        seed: `None` to follow the global seed of `keras.utils.set_random_seed`, or a non-negative integer that fixes
            the order where no global seed is set. With both, the order is a function of both, as everywhere in tf.data.
        indexed: Whether to add the key `"index"`, the position of each unlabelled example in its data set.
        steps: Steps of an epoch, or `None` for one pass. A `tf.data.Dataset` is read from its beginning in every epoch.
        balanced: Whether to draw the labelled examples from the classes in turn, for labels that are imbalanced. In
            every batch, and in the whole of an epoch, the numbers of the classes that occur in `y` differ by at most
            one; an example comes back only after all others of its class. `y` must be class numbers or one-hot rows. A
            labelled `tf.data.Dataset` is read into memory, now and once, up to 1,000,000 examples, and shuffled whole.

    Returns:
        A `tf.data.Dataset` of `({"labeled": x, "unlabeled": u}, y)` or `({"labeled": x, "unlabeled": u}, y,
        sample_weight)`. `x` and `y` have `batch_size` rows, `u` has `batch_size * ratio`, and so has `"index"`
        (`int64`).

    Raises:
        ValueError: If a stream is empty, its arrays differ in length, the two differ in structure, shape or dtype,
            values are NaN or infinite, class numbers are negative, labels do not tell the class where `balanced`, or
            the sizes do not fit together. What a `tf.data.Dataset` holds is checked as it flows: `ConsistencyModel.fit`
            raises the `ValueError` then. Where you iterate yourself it is a `tf.errors.InvalidArgumentError`.
        TypeError: If an argument is of the wrong type.

    Example:

    ```python
    batches = kc.data.pair((x[rows], y[rows]), x, batch_size=64, ratio=7, seed=0)
    model.fit(batches, epochs=10)
    ```
    """
    _check_integer("batch_size", batch_size)
    rows = _unlabeled_rows(batch_size, ratio)
    if steps is not None:
        _check_integer("steps", steps)
    if isinstance(shuffle, int) and not isinstance(shuffle, bool):
        _check_integer("shuffle", shuffle)
    if not isinstance(balanced, bool):
        raise TypeError(f"`balanced` must be True or False. Received: balanced={balanced!r}")
    seeds = _seeds(seed)
    labeled, unlabeled = sources.from_labeled(labeled), sources.from_inputs("unlabeled", unlabeled)
    _check_sources(labeled, unlabeled, rows, batch_size, ratio, steps)

    if balanced:
        labeled = sources.in_memory("labeled", labeled)
        classes = balance.class_numbers("labeled[y]", labeled.tensors[1])
        order = balance.order(classes, shuffle=bool(shuffle), seed=seeds[0])
        supervised = labeled.read(order.batch(batch_size, drop_remainder=True))
    else:
        supervised = sources.batches(labeled, batch_size, shuffle, seeds[0], repeat=True)
    inputs = sources.batches(unlabeled, rows, shuffle, seeds[1], repeat=steps is not None)

    def combine(unlabeled_batch, labeled_batch):
        index, u = unlabeled_batch
        _, (x, *targets) = labeled_batch
        return {"labeled": x, "unlabeled": u, **({"index": index} if indexed else {})}, *targets

    dataset = tf.data.Dataset.zip((inputs, supervised)).map(combine)
    return (dataset if steps is None else dataset.take(steps)).prefetch(tf.data.AUTOTUNE)


def with_views(dataset, *, labeled=None, seed=None, num_parallel_calls=tf.data.AUTOTUNE, service=None, **views):
    """Adds views of the unlabelled examples to the batches of `pair`, made in the input pipeline.

    All views of an example are made from the one example in `"unlabeled"`, which stays in the batch. The layers of this
    library get a seed of their own for every view and batch, so that the views are the same whatever
    `num_parallel_calls` is and new in each epoch. Other Keras layers keep a counter of their own inside: with parallel
    calls their draws do not repeat.

    An epoch is an iteration that was begun. A process that goes on with epoch `k`, as `fit(batches, initial_epoch=k)`
    does, gets the batches and views of an uninterrupted run by `for _ in range(k): iter(batches)` before.

    Args:
        dataset: A `tf.data.Dataset` of batches as `pair` makes them.
        labeled: A layer that replaces the labelled examples by their view, or `None` to leave them as they are.
        seed: `None` to follow the global seed, or an integer that fixes the draws where no global seed is set.
        num_parallel_calls: Batches to make at once.
        service: `None` to make the views in this process, or the address of the dispatcher of a tf.data service, as in
            `"grpc://localhost:5050"`, whose workers share the batches and make the views of each once. Batches, views
            and their order are those without it. For that `dataset` must have no end (`.repeat()`; `fit` then takes
            `steps_per_epoch=`), since every iteration begins at the first batch; `pair` and `with_views` must have a
            `seed`, or follow the global one; and the dispatcher must be told of all its workers
            (`DispatcherConfig(worker_addresses=...)`), which must be running. Each reads the whole of `dataset`; the
            arrays in it are sent to them.
        **views: `name=layer`: adds the key `name`, which holds `layer(unlabeled)`. Any callable will do that keeps the
            number of examples; Keras layers are called with `training=True`.

    Returns:
        A `tf.data.Dataset` of the same length, with one more key for each view.

    Raises:
        ValueError: If there is no view, a name is taken, or a layer changes the number of examples; with `service`, if
            it is no address, `dataset` has an end, or the dispatcher does not know its workers. Where some of these are
            missing, `ConsistencyModel.fit` raises it; where you iterate yourself it is a
            `tf.errors.InvalidArgumentError`.
        TypeError: If `dataset` does not hold paired batches or a view is not callable.
        ConnectionError: If no tf.data service with a worker answers at `service` within half a minute. (A worker lost
            later is waited for, as tf.data does; where it comes back, the training ends with the error above.)

    Example:

    ```python
    batches = kc.data.with_views(batches, labeled=weak, weak=weak, strong=strong, seed=0)
    ```
    """
    inputs = _paired_spec(dataset)
    layers = {**({} if labeled is None else {"labeled": labeled}), **views}
    if not layers:
        raise ValueError(
            "`with_views` needs at least one view. Received: none. Pass `name=layer`, e.g. `strong=layer`."
        )
    for name, layer in layers.items():
        if not callable(layer):
            raise TypeError(f"View `{name}` must be a layer or another callable. Received: {name}={layer!r}")
        if name in views and (name in inputs or name in _RESERVED):
            raise ValueError(
                f"View `{name}` must have a name that the batch does not use yet. Taken: {sorted(inputs)}."
            )
    # A view of another layer, or the same layer under another name, draws from a stream of its own.
    positions = {name: position for position, name in enumerate(["labeled", *views])}
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

    def add_views(batch, batch_seed):
        inputs, *targets = batch
        made = {}
        for name, layer in layers.items():
            base = inputs["labeled" if name == "labeled" else "unlabeled"]
            view = _call(layer, base, random.fold(batch_seed, positions[name]))
            made[name] = tf.nest.map_structure(lambda v, n=name, b=base: _same_rows(n, v, b), view)
        return {**inputs, **made}, *targets

    dataset = tf.data.Dataset.zip((dataset, seeds))
    if service is None:
        dataset = dataset.map(add_views, num_parallel_calls=num_parallel_calls)
    else:
        dataset = remote.mapped(dataset, add_views, service, num_parallel_calls=num_parallel_calls)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _check_sources(labeled, unlabeled, rows, batch_size, ratio, steps):
    for name, source in (("labeled", labeled), ("unlabeled", unlabeled)):
        if source.count_up_to(1) == 0:
            raise ValueError(f"`{name}` must hold at least one example. Received: {name} without examples.")
    sources.check_same_inputs(labeled.spec[0], unlabeled.spec)
    if unlabeled.length == tf.data.INFINITE_CARDINALITY and steps is None:
        raise ValueError(
            "`unlabeled` has no end, so an epoch has none. Received: steps=None. Pass `steps=`, e.g. `steps=1000`."
        )
    found = unlabeled.count_up_to(rows)
    if found < rows:
        raise ValueError(
            "`unlabeled` must hold at least `batch_size * ratio` examples. "
            f"Received: batch_size={batch_size}, ratio={ratio} and {found} unlabelled examples. "
            "Lower `batch_size` or `ratio`."
        )
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if batch_size % replicas or rows % replicas:
        raise ValueError(
            f"`batch_size` and `batch_size * ratio` must be multiples of the {replicas} replicas. "
            f"Received: batch_size={batch_size}, ratio={ratio}"
        )


def _paired_spec(dataset):
    spec = getattr(dataset, "element_spec", None)
    inputs = spec[0] if isinstance(spec, tuple) and len(spec) in (2, 3) else None
    if not isinstance(inputs, dict) or not {"labeled", "unlabeled"} <= set(inputs):
        raise TypeError(
            '`dataset` must be a `tf.data.Dataset` of `({"labeled": x, "unlabeled": u}, y)`, as `kc.data.pair` makes. '
            f"Received: {dataset!r}"
        )
    return inputs


def _call(layer, inputs, seed):
    if not hasattr(layer, "call"):
        return layer(inputs)
    if "seed" in inspect.signature(layer.call).parameters:
        return layer(inputs, training=True, seed=seed)
    return layer(inputs, training=True)


def _same_rows(name, view, base):
    rows = tf.nest.flatten(base)[0].shape[0]
    if not view.shape[:1].is_compatible_with([rows]):
        raise ValueError(
            f"View `{name}` must keep the number of examples. Received: {rows} examples, a view of {view.shape}"
        )
    # The static size is what lets tf.distribute split every key evenly.
    return view if view.shape.rank is None else tf.ensure_shape(view, [rows, *view.shape[1:]])


def _unlabeled_rows(batch_size, ratio):
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float, np.number)):
        raise TypeError(f"`ratio` must be a number above 0. Received: ratio={ratio!r}")
    rows = batch_size * ratio
    if not math.isfinite(rows) or ratio <= 0 or round(rows) < 1 or abs(rows - round(rows)) > 1e-6:
        raise ValueError(
            "`ratio` must be above 0 and make `batch_size * ratio` a whole number. "
            f"Received: ratio={ratio}, batch_size={batch_size}"
        )
    return round(rows)


def _check_integer(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")


def _seeds(seed):
    """Independent seeds for the two sources."""
    if seed is None:
        return None, None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"`seed` must be `None` or an integer of at least 0. Received: seed={seed!r}")
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0. Received: seed={seed}")
    return [int(word) for word in np.random.SeedSequence(int(seed)).generate_state(2)]
