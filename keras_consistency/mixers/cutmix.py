"""CutMix."""

import keras
import tensorflow as tf

from keras_consistency.mixers.mixer import PairMixer, blend
from keras_consistency.ops import random
from keras_consistency.ops.fused import fused


@keras.saving.register_keras_serializable(package="keras_consistency")
class CutMix(PairMixer):
    """Paste a box of a random partner from all the batches into each image, and mix the targets by its area.

    `l ~ Beta(alpha, alpha)`. The box has the image's proportions and the share `1 - l` of its area; its centre is drawn
    uniformly over the pixels, so that part of it may fall outside the image. With `c` the share of the pixels that it
    really covers, `q' = (1 - c) q_1 + c q_2`. Pixels are copied, never changed: uint8 images stay uint8.

    Targets of the size of the images, `(examples, height, width, classes)`, are cut as the images are.

    A box may cover more than half of an image, which then holds more of its partner than of its own. In a model,
    weights of the unlabelled examples stay with the place: mix where all weigh the same, as in MixMatch.

    Args:
        alpha: in (0, inf). The paper uses 1, for which all shares are equally likely.
        labeled: whether to mix the labelled examples with the unlabelled ones, or to leave them as they are.

    Call arguments:
        inputs: list of images `(examples_i, height, width, channels)`, all of one height, width and number of channels,
            of any numeric dtype.
        targets: list of class probabilities `(examples_i, classes)`, or values, or targets for each pixel, float.
        seed: integers `(2,)`; the same seed mixes alike in every mode.

    Returns:
        Two lists, of the same shapes; the images keep their dtype, unless that of the batches differs.

    Raises:
        ValueError: where `alpha` is not above 0, inputs are not images, or targets for each pixel are of another size.
        TypeError: where inputs are not numeric tensors, or targets are not of floats.

    Example:

    In a recipe that mixes: `kc.recipes.mixmatch(student, mixer=kc.mixers.CutMix(alpha=1.0))`. By itself, on labelled
    batches, whose labels become probabilities:

    ```python
    mixer = kc.mixers.CutMix(alpha=1.0)

    def mixed(batch, seed):
        images, labels = batch
        (images,), (labels,) = mixer([images], [tf.one_hot(labels, 10)], seed=seed)
        return images, labels

    seeds = tf.data.Dataset.random(seed=0, rerandomize_each_iteration=True).batch(2)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10_000).batch(128, drop_remainder=True)
    batches = tf.data.Dataset.zip(batches, seeds).map(mixed, num_parallel_calls=tf.data.AUTOTUNE)
    model.compile("adam", loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(batches)
    ```

    References:
        - S. Yun et al., [CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
          Features](https://arxiv.org/abs/1905.04899), 2019, equations 1 and 2. Deviation: each image draws its own
          share and box; the paper draws one for a batch.
    """

    def draw(self, seed, inputs):
        """Top, left, bottom and right of each box, clipped to the image: int32 `(rows, 4)`."""
        if inputs.shape.rank != 4:
            raise ValueError(
                "`CutMix` mixes images of shape (examples, height, width, channels); for other examples there is "
                f"`MixUp`. Received: inputs of shape {inputs.shape}"
            )
        rows, size = tf.shape(inputs)[0], tf.shape(inputs)[1:3]
        side = tf.sqrt(1.0 - random.shared_beta(random.fold(seed, 0), [rows, 1], self.alpha))
        sides = tf.cast(tf.round(side * tf.cast(size, tf.float32)), tf.int32)
        centres = random.shared_uniform(random.fold(seed, 1), [rows, 2]) * tf.cast(size, tf.float32)
        start = tf.cast(tf.floor(centres), tf.int32) - sides // 2
        return tf.concat([tf.maximum(start, 0), tf.minimum(start + sides, size)], axis=1)

    def mix(self, inputs, targets, drawn):
        images, labels = inputs[0], targets[0]
        mixed = _paste(*inputs, drawn)
        if labels.shape.rank == 4:
            if not labels.shape[1:3].is_compatible_with(images.shape[1:3]):
                raise ValueError(
                    "`targets` of `CutMix` for each pixel must have the height and width of the images. "
                    f"Received: targets of shape {labels.shape} for images of shape {images.shape}"
                )
            return mixed, _paste(*targets, drawn)
        covered = tf.reduce_prod(drawn[:, 2:] - drawn[:, :2], axis=1) / tf.reduce_prod(tf.shape(images)[1:3])
        return mixed, blend(*targets, 1.0 - tf.cast(covered, tf.float32))


@fused
def _paste(images, partners, boxes):
    """The images with the boxes of their partners in place of their own."""
    top, left, bottom, right = (boxes[:, side, None] for side in range(4))
    rows, columns = tf.range(tf.shape(images)[1]), tf.range(tf.shape(images)[2])
    covered_rows, covered_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    covered = covered_rows[:, :, None] & covered_columns[:, None, :]
    return tf.where(covered[..., None], partners, images)
