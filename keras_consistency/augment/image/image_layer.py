"""The base of the image layers: what images they take, and drawing apart from applying."""

import math
import numbers

import tensorflow as tf

from keras_consistency.augment.image import annotations
from keras_consistency.augment.random_layer import RandomLayer
from keras_consistency.ops.require import require

GREY = 127 / 255


class ImageLayer(RandomLayer):
    """A random layer for images; it draws for each image on its own.

    A subclass implements `get_random_transformation(seed, images)`, which draws parameters with one row per image, and
    `transform_images(images, transformation)`, which applies them and draws nothing. Both see batches.

    Images may come in a dictionary with Keras's own keys, and what stands beside them moves as they do:

    - `"images"`: the images.
    - `"segmentation_masks"`: `(batch, height, width)` or `(batch, height, width, channels)`, integer or float, which
      are never interpolated.
    - `"bounding_boxes"`: a dictionary of `"boxes"`, float `(batch, boxes, 4)`, left, top, right and bottom in pixels,
      and `"labels"`, `(batch, boxes)`. A moved box is the one around its moved corners, as far as it lies in the image.
      One that has left the image has the label -1, which also stands for "no box".
    - Any other keys pass as they are.

    Args:
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary, in which all is batched or nothing.

    Output shape:
        As the input, of the same dtype; a dictionary gives a new one.

    Raises:
        ValueError: where the rank, the number of channels or the values do not fit, or masks and boxes do not fit the
            images. In a graph the values are checked when it runs (`tf.errors.InvalidArgumentError`), and not at all
            under XLA.
        TypeError: where a dtype does not fit.
    """

    def __init__(self, *, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        valid = isinstance(value_range, (list, tuple)) and len(value_range) == 2
        valid = (
            valid
            and all(isinstance(bound, numbers.Real) and math.isfinite(bound) for bound in value_range)
            and value_range[0] < value_range[1]
        )
        if not valid:
            raise ValueError(
                "`value_range` must be two numbers, the lowest and the highest pixel value, as in (0, 255). "
                f"Received: value_range={value_range}"
            )
        self.value_range = tuple(value_range)

    def get_random_transformation(self, seed, images):
        """Draw the parameters for a batch: a tensor, or a structure of tensors, with one row per image."""
        raise NotImplementedError(
            f"`{type(self).__name__}` does not implement `get_random_transformation(seed, images)`."
        )

    def transform_images(self, images, transformation):
        """Apply drawn parameters to a batch. Draws nothing."""
        raise NotImplementedError(
            f"`{type(self).__name__}` does not implement `transform_images(images, transformation)`."
        )

    def transform_segmentation_masks(self, masks, transformation):
        """Move masks `(batch, height, width, channels)` of any dtype as the images move."""
        return masks

    def get_matrices(self, transformation, height, width):
        """The maps of the image plane that move the images, as `ops.warp` takes them; `None` where nothing moves.

        Args:
            transformation: as drawn.
            height, width: of the images, float32 scalars.

        Returns:
            float32 `(batch, 3, 3)`, from output to input.
        """
        return None

    def augment(self, inputs, seed):
        if not isinstance(inputs, dict):
            return self.augment({"images": inputs}, seed)["images"]
        if "images" not in inputs:
            raise ValueError(
                f'`{type(self).__name__}` takes images, or a dictionary with the key "images". '
                f"Received: a dictionary with the keys {sorted(inputs)}"
            )
        images = tf.convert_to_tensor(inputs["images"])
        self._check_type(images)
        self._check_values(images)
        beside = {key: inputs[key] for key in annotations.KEYS if key in inputs}
        annotations.check(type(self).__name__, images, beside)
        tensors = tf.nest.map_structure(tf.convert_to_tensor, {"images": images, **beside})
        if images.shape.rank == 4:
            outputs = self._transform(tensors, seed)
        else:
            outputs = self._transform(tf.nest.map_structure(lambda one: one[None], tensors), seed)
            outputs = tf.nest.map_structure(lambda batch: batch[0], outputs)
        return {**inputs, **tf.nest.map_structure(lambda out, into: tf.ensure_shape(out, into.shape), outputs, tensors)}

    def _transform(self, batch, seed):
        """The view of a batch, which is a dictionary of `"images"` and what stands beside them."""
        images = batch["images"]
        transformation = self.get_random_transformation(seed, images)
        outputs = {"images": self.transform_images(images, transformation)}
        if "segmentation_masks" in batch:
            masks = batch["segmentation_masks"]
            flat = masks.shape.rank == 3
            masks = self.transform_segmentation_masks(masks[..., None] if flat else masks, transformation)
            outputs["segmentation_masks"] = masks[..., 0] if flat else masks
        if "bounding_boxes" in batch:
            height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
            matrices = self.get_matrices(transformation, height, width)
            boxes = batch["bounding_boxes"]
            outputs["bounding_boxes"] = (
                boxes if matrices is None else annotations.move_boxes(boxes, matrices, height, width)
            )
        return outputs

    def scale(self, fraction):
        """The pixel value at a fraction of `value_range`."""
        low, high = self.value_range
        return low + fraction * (high - low)

    def get_config(self):
        return {**super().get_config(), "value_range": self.value_range}

    def _check_type(self, images):
        name = type(self).__name__
        if images.shape.rank not in (3, 4):
            raise ValueError(
                f"`{name}` takes images of shape (height, width, channels) or (batch, height, width, channels). "
                f"Received: images of shape {images.shape}"
            )
        if images.shape[-1] not in (1, 3):
            raise ValueError(
                f"`{name}` takes images with 1 or 3 channels in the last axis, known before it runs. "
                f"Received: images of shape {images.shape}"
            )
        if images.dtype != tf.uint8 and not images.dtype.is_floating:
            raise TypeError(
                f"`{name}` takes uint8 or float images; cast them first. Received: images of dtype {images.dtype.name}"
            )
        if images.dtype == tf.uint8 and self.value_range != (0, 255):
            raise ValueError(
                f"`value_range` of `{name}` must be (0, 255) for uint8 images. Received: value_range={self.value_range}"
            )

    def _check_values(self, images):
        if images.dtype == tf.uint8:
            return
        name, (low, high) = type(self).__name__, self.value_range
        slack = 1e-3 * (high - low)
        lowest = tf.cast(tf.reduce_min(images), tf.float32)
        highest = tf.cast(tf.reduce_max(images), tf.float32)
        # Written so that a NaN fails.
        require(
            (lowest >= low - slack) & (highest <= high + slack),
            f"`value_range` of `{name}` is {self.value_range}, and the images have values outside it. "
            "Pass the range of your images. Received: images with lowest and highest value",
            lowest,
            highest,
        )
        if images.shape.rank == 4 and self.value_range == (0, 255):
            require(
                (lowest < 0.0) | (highest > 1.0) | (lowest >= highest),
                f"`value_range` of `{name}` is (0, 255), and all pixels of the batch lie between 0 and 1. "
                "Pass `value_range=(0, 1)`, or images from 0 to 255. Received: images with lowest and highest value",
                lowest,
                highest,
            )


def check_fraction(name, value):
    """Return a number in [0, 1], or raise a `ValueError` that names the argument."""
    if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a number in [0, 1]. Received: {name}={value}")
    return value
