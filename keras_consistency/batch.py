"""A batch of training data, whichever of the accepted structures it came in, and the views of it that a step needs."""

import dataclasses

import keras
import tensorflow as tf

from keras_consistency.embeddings import Shifted
from keras_consistency.ops import random, replicas
from keras_consistency.ops.require import guarded
from keras_consistency.parts import per_example
from keras_consistency.views import View


class Batch:
    """The streams of one training step.

    Accepts `({"labeled": x, "unlabeled": u, ...}, y)`, the same with `sample_weight`, and plain `(x, y[,
    sample_weight])` where every example has a label. Further keys are `"index"` and views that the input pipeline made.

    Args:
        data: what Keras hands to `train_step`.
        indexed: whether the batch must hold the key `"index"`.
        checked: whether a step fails on inputs that are not finite; else all of them count as zero.

    Attributes:
        labels, sample_weight: as they came; `sample_weight` may be `None`.
        index: positions of the unlabelled examples, or `None`.
        finite: where not `checked`, whether all inputs on all replicas were finite, a bool scalar.

    Raises:
        ValueError: where labels are missing, or the index is.
    """

    def __init__(self, data, *, indexed=False, checked=True):
        # Eagerly, `train_on_batch` hands over NumPy arrays.
        data = keras.tree.map_structure(lambda leaf: leaf if leaf is None else tf.convert_to_tensor(leaf), data)
        inputs, self.labels, self.sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(inputs, dict) and "unlabeled" in inputs and "labeled" not in inputs:
            raise ValueError(
                'Training needs labelled examples beside the unlabelled ones, under the key "labeled": make the '
                f"batches with `kc.data.pair`. Received a batch of keys {sorted(inputs)}."
            )
        streams = inputs if isinstance(inputs, dict) and "labeled" in inputs else {"labeled": inputs}
        received = f"Received a batch of keys {sorted(inputs)}." if isinstance(inputs, dict) else "Received `(x, y)`."
        if self.labels is None:
            raise ValueError(
                'Training needs labels: batches `({"labeled": x, "unlabeled": u}, y)`, as of `kc.data.pair`, or '
                f"`(x, y)`. {received}"
            )
        if indexed and "index" not in streams:
            raise ValueError(
                'A part of this model needs the key "index" in the batch: make it with `kc.data.pair(..., '
                f"indexed=True)`. {received}"
            )
        self.index = streams.get("index")
        self.finite = tf.constant(True)
        if not checked:
            leaves = [leaf for leaf in keras.tree.flatten(streams) if leaf.dtype.is_floating]
            sums = [tf.reduce_sum(tf.cast(leaf, tf.float32)) for leaf in leaves]
            self.finite = replicas.all_sum(tf.cast(~tf.math.is_finite(tf.add_n([0.0, *sums])), tf.float32)) == 0.0
        self._streams = {
            key: keras.tree.map_structure(
                lambda leaf, key=key: _finite(key, leaf) if checked else _or_zeros(leaf, self.finite), value
            )
            for key, value in streams.items()
        }

    def sources(self, pool):
        """The streams that a pool consists of, as keys."""
        if "unlabeled" not in self._streams:
            return ("labeled",)
        return ("labeled", "unlabeled") if pool == "all" else (pool,)

    def rows(self, pool):
        """Number of examples of a pool on this replica, an integer or a scalar tensor."""
        firsts = [keras.tree.flatten(self._streams[source])[0] for source in self.sources(pool)]
        return sum(first.shape[0] if first.shape[0] is not None else tf.shape(first)[0] for first in firsts)

    def inputs(self, source, key=None):
        """The inputs of a source, or the view `key` of them that the input pipeline made.

        Raises:
            ValueError: where the batch has no such view.
        """
        if key is None:
            return self._streams[source]
        if key not in self._streams or source != self.sources("unlabeled")[0]:
            raise ValueError(
                f'The batch has no view "{key}" of its {source} examples: make it with `kc.data.with_views(dataset, '
                f"{key}=layer)`, or give the model a layer instead. Received a batch of keys {sorted(self._streams)}."
            )
        return self._streams[key]


@dataclasses.dataclass(frozen=True)
class Stream:
    """A view of a source of the batch. Equal streams hold the same tensor."""

    source: str
    key: tuple
    view: View = dataclasses.field(compare=False, repr=False)


class Streams:
    """What is made once in a step, when it is first asked for, however many terms and networks ask.

    Args:
        batch: the `Batch`.
        layers: the view layers by name.
        logits: function from inputs to the student's logits in inference mode, for perturbations.
        seed: integers `(2,)`, for perturbations and geometries.
        inside: function from the name of a layer of the student and inputs to what the layer makes of them, and which
            of it is real (`embeddings.read`).
        labels: labels of the labelled examples in the shape of the logits, or `None` where they have another.
    """

    def __init__(self, batch, layers, logits, seed, *, inside=None, labels=None):
        self.batch = batch
        self._layers = layers
        self._logits = logits
        self._inside = inside
        self._labels = labels
        self._seed = seed
        self._made = {}

    def of(self, pool, view):
        """The streams that make up a view of a pool, one a source."""
        return tuple(Stream(source, view.key, view) for source in self.batch.sources(pool))

    def __getitem__(self, stream):
        if stream not in self._made:
            self._made[stream] = self._make(stream.source, stream.view)
        return self._made[stream]

    def motion(self, pool, view):
        """How the geometry of a view moves each example of a pool, or `None` where it has none."""
        if view.geometry is None:
            return None
        return tf.concat([self._motion(stream) for stream in self.of(pool, view)], axis=0)

    def _motion(self, stream):
        key = (stream, "motion")
        if key not in self._made:
            self._made[key] = stream.view.geometry.draw(self._next_seed(), self.batch.rows(stream.source))
        return self._made[key]

    def _next_seed(self):
        return random.fold(self._seed, len(self._made))

    def _below(self, source, view, perturbation=None):
        """The view of a source without what comes last in its making."""
        base = View(view.layer, draw=view.draw, perturbation=perturbation)
        return self[Stream(source, base.key, base)]

    def _make(self, source, view):
        if view.geometry is not None:
            below = self._below(source, view, view.perturbation)
            return view.geometry.apply(below, self._motion(Stream(source, view.key, view)))
        if view.perturbation is not None:
            return self._perturb(source, view, self._next_seed())
        if not isinstance(view.layer, keras.layers.Layer):
            return self.batch.inputs(source, view.layer)
        inputs = self.batch.inputs(source)
        outputs = self._layers[view.layer.name](inputs, training=True)
        return keras.tree.map_structure(tf.stop_gradient, outputs)

    def _perturb(self, source, view, seed):
        inputs, perturbation = self._below(source, view), view.perturbation
        options = {"labels": self._labels_of(source, perturbation)} if perturbation.reads_labels else {}
        if view.at is not None:
            clean, mask = self._inside(view.at, inputs)

            def shifted(moved):
                # Without it, an attack that starts at the clean outputs themselves would find no gradient.
                offset = moved - tf.stop_gradient(clean)
                if mask is not None:
                    offset = tf.where(per_example(mask, offset.shape.rank), offset, 0.0)
                return Shifted(inputs, {view.at: offset})

            moved = perturbation(clean, lambda moved: self._logits(shifted(moved)), seed=seed, **options)
            return keras.tree.map_structure(tf.stop_gradient, shifted(moved))
        if tf.is_tensor(inputs) and inputs.dtype == tf.uint8 and not perturbation.takes_integers:
            inputs = tf.cast(inputs, tf.float32)
        return perturbation(inputs, self._logits, seed=seed, **options)

    def _labels_of(self, source, perturbation):
        if source == "labeled" and self._labels is not None:
            return self._labels
        raise ValueError(
            "A perturbation with target='label' needs class numbers or probabilities of every example: give it "
            "target='prediction' for unlabelled ones. Received: "
            + (
                f"a view of unlabelled examples with {perturbation!r}"
                if source != "labeled"
                else "labels `y` of another shape"
            )
        )


def _or_zeros(inputs, finite):
    return tf.where(finite, inputs, tf.zeros_like(inputs)) if inputs.dtype.is_floating else inputs


def _finite(key, inputs):
    """The inputs, in a step that fails where they hold a NaN. Their sum is the cheapest thing that shows it."""
    if not inputs.dtype.is_floating:
        return inputs
    return guarded(
        inputs,
        tf.math.is_finite(tf.reduce_sum(tf.cast(inputs, tf.float32))),
        f'The inputs "{key}" of the batch must be finite: repair or remove examples with NaN. Received: a batch whose '
        "lowest and highest values are",
        tf.reduce_min(inputs),
        tf.reduce_max(inputs),
    )
