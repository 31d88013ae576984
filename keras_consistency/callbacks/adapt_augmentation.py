"""A callback that lets an augmentation layer learn how strong it may be."""

import keras
import tensorflow as tf

from keras_consistency import labels, sources
from keras_consistency.ops import random
from keras_consistency.parts import check_count


class AdaptAugmentation(keras.callbacks.Callback):
    """Shows the model labelled images that a layer transformed, and tells the layer how well they were read.

    It draws labelled images before a training batch, has the layer transform them by its `probe`, asks the model in
    inference mode, and hands `1 - sum_c |p_c - y_c| / 2` of each image to the layer's `update`. The model is asked as
    `predict` does: of a `kc.ConsistencyModel`, the network that is evaluated. This takes one forward of `batch_size`
    images; the training step is not touched, so that any recipe, and any Keras model, will do.

    Draws are a function of the seed and the number of optimizer steps done: a resumed training goes on with the same.
    With `steps_per_execution`, an execution counts as a batch.

    Args:
        layer: `kc.augment.image.CTAugment`, or any layer with its `probe(images, seed)` and `update(drawn, matches)`.
            Give the very layer that views are made with.
        labeled: arrays `(x, y)` of labelled images, as the layer takes them; `y` are class numbers, or probabilities.
        batch_size: images to show at a time.
        every: training batches from one time to the next.
        seed: integer that the draws depend on.

    Raises:
        TypeError: where the layer has no such methods, or the labelled images are no arrays.
        ValueError: where an argument lies outside its range; at the beginning of training, where the model does not
            return logits `(images, classes)`.

    References:
        Berthelot et al., "ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring",
        2020, section 3.2.2, https://arxiv.org/abs/1911.09785. As in the published code, the distance of the
        probabilities is not divided by the number of classes.

    Example:

    ```python
    strong = kc.augment.image.CTAugment()
    model = kc.recipes.fixmatch(student, strong=strong)
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(batches, callbacks=[kc.callbacks.AdaptAugmentation(strong, (x, y))])
    ```
    """

    def __init__(self, layer, labeled, *, batch_size=64, every=1, seed=0):
        super().__init__()
        if not all(callable(getattr(layer, name, None)) for name in ("probe", "update")):
            raise TypeError(
                "`layer` must have the methods `probe` and `update`, as `kc.augment.image.CTAugment` has. "
                f"Received: layer={layer!r}"
            )
        if isinstance(labeled, tf.data.Dataset):
            raise TypeError(f"`labeled` must be a tuple `(x, y)` of arrays. Received: labeled={labeled!r}")
        check_count("batch_size", batch_size)
        check_count("every", every)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"`seed` must be an integer. Received: seed={seed!r}")
        self.layer = layer
        self.batch_size = batch_size
        self.every = every
        self.seed = seed
        self._images, self._labels = sources.from_labeled(labeled).tensors[:2]
        if self._images.shape[0] == 0:
            raise ValueError("`labeled` must hold at least one example. Received: arrays of length 0")
        self._step = None

    def on_train_begin(self, logs=None):
        """Compiles the step for the model."""
        images = keras.KerasTensor((self.batch_size, *self._images.shape[1:]), dtype=self._images.dtype.name)
        shape = keras.tree.map_structure(lambda output: output.shape, self.model.compute_output_spec(images))
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise ValueError(
                "`AdaptAugmentation` needs a model that returns logits (images, classes); where it returns a "
                f"dictionary, name the logits by `prediction=` of the recipe. Received: outputs {shape}"
            )
        self._batches = 0
        self._step = tf.function(self._probe)

    def on_train_batch_begin(self, batch, logs=None):
        """Probes, if it is time."""
        if self._batches % self.every == 0:
            self._step(tf.cast(self.model.optimizer.iterations, tf.int64))
        self._batches += 1

    def _probe(self, step):
        seed = random.fold(tf.constant([self.seed, 0], tf.int64), step)
        count = self._images.shape[0]
        rows = tf.cast(random.shared_uniform(random.fold(seed, 0), [self.batch_size]) * count, tf.int32)
        views, drawn = self.layer.probe(tf.gather(self._images, rows), random.fold(seed, 1))
        probabilities = tf.nn.softmax(tf.cast(self.model(views, training=False), tf.float32))
        truth = labels.as_probabilities(tf.gather(self._labels, rows), probabilities.shape[-1])
        self.layer.update(drawn, 1.0 - tf.reduce_sum(tf.abs(probabilities - truth), axis=-1) / 2.0)
