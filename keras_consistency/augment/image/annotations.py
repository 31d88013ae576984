"""What may stand beside images, under Keras's names: segmentation masks and bounding boxes."""

import tensorflow as tf

from keras_consistency.ops import warp

KEYS = ("segmentation_masks", "bounding_boxes")


def check(name, images, annotations):
    """Raises an error that names the layer where annotations do not fit the images.

    Args:
        name: of the layer.
        images: tensor `(n, height, width, channels)` or `(height, width, channels)`.
        annotations: dictionary with some of `KEYS`, as given.

    Raises:
        ValueError: where a key of the boxes, a rank or a size does not fit.
        TypeError: where something is ragged or sparse, or of a dtype that does not fit.
    """
    for leaf in tf.nest.flatten(annotations):
        if isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)):
            raise TypeError(
                f"`{name}` takes dense masks and boxes: fill up the rows of a ragged tensor with boxes of label -1, as "
                f"`boxes.to_tensor(-1)` does. Received: a {type(leaf).__name__} of shape {leaf.shape}"
            )
    if "segmentation_masks" in annotations:
        _check_masks(name, images, tf.convert_to_tensor(annotations["segmentation_masks"]))
    if "bounding_boxes" in annotations:
        _check_boxes(name, images, annotations["bounding_boxes"])


def move_boxes(bounding_boxes, matrices, height, width):
    """The boxes around the moved corners of boxes, as far as they lie in the image.

    Boxes of an image that does not move stay as they are.

    Args:
        bounding_boxes: dictionary of `boxes`, float `(n, k, 4)`: left, top, right, bottom in pixels, and `labels`,
            `(n, k)`.
        matrices: float32 `(n, 3, 3)`, from output to input (see `ops.warp`).
        height, width: of the image, float32 scalars.

    Returns:
        As `bounding_boxes`; a box of which nothing is left in the image has the label -1.
    """
    boxes, labels = bounding_boxes["boxes"], bounding_boxes["labels"]
    left, top, right, bottom = tf.unstack(tf.cast(boxes, tf.float32), axis=-1)
    x, y = tf.stack([left, right, left, right], axis=-1), tf.stack([top, top, bottom, bottom], axis=-1)
    forward = warp.inverse(matrices)[:, None, None]
    # Sums and no matrix product: that may be of ten bits only on a GPU.
    x, y, depth = (forward[..., k, 0] * x + forward[..., k, 1] * y + forward[..., k, 2] for k in range(3))
    x, y = tf.clip_by_value(x / depth, 0.0, width), tf.clip_by_value(y / depth, 0.0, height)
    least, most = (tf.stack([reduce(x, axis=-1), reduce(y, axis=-1)], axis=-1) for reduce in _EXTREMES)
    moved = tf.cast(tf.concat([least, most], axis=-1), boxes.dtype)
    empty = tf.reduce_any(most <= least, axis=-1)
    still = tf.reduce_all(matrices == tf.eye(3), axis=[1, 2])
    return {
        "boxes": tf.where(still[:, None, None], boxes, moved),
        "labels": tf.where(empty & ~still[:, None], tf.cast(-1, labels.dtype), labels),
    }


_EXTREMES = (tf.reduce_min, tf.reduce_max)


def _check_masks(name, images, masks):
    rank = images.shape.rank
    if masks.shape.rank not in (rank - 1, rank) or (masks.shape.rank == rank and masks.shape[-1] is None):
        raise ValueError(
            f'`{name}` takes "segmentation_masks" of shape (height, width) or (height, width, channels), and a '
            "batch of them beside a batch of images. "
            f"Received: images of shape {images.shape}, masks of shape {masks.shape}"
        )
    if not images.shape[: rank - 1].is_compatible_with(masks.shape[: rank - 1]):
        raise ValueError(
            f'`{name}` takes "segmentation_masks" of the number and size of the images: resize them first. '
            f"Received: images of shape {images.shape}, masks of shape {masks.shape}"
        )
    if not (masks.dtype.is_floating or masks.dtype.is_integer):
        raise TypeError(
            f'`{name}` takes "segmentation_masks" of an integer or float dtype. '
            f"Received: masks of dtype {masks.dtype.name}"
        )


def _check_boxes(name, images, bounding_boxes):
    keys = sorted(bounding_boxes) if isinstance(bounding_boxes, dict) else type(bounding_boxes).__name__
    if keys != ["boxes", "labels"]:
        raise ValueError(
            f'`{name}` takes "bounding_boxes" as a dictionary of "boxes" and "labels". Received: bounding_boxes={keys}'
        )
    boxes, labels = (tf.convert_to_tensor(bounding_boxes[key]) for key in keys)
    rows = images.shape[:-3]
    expected = rows.concatenate(labels.shape[-1:]).concatenate([4])
    if labels.shape.rank != len(rows) + 1 or not boxes.shape.is_compatible_with(expected):
        raise ValueError(
            f'`{name}` takes "bounding_boxes" with "boxes" of shape (boxes, 4) and "labels" of shape (boxes,), and a '
            f"batch of them beside a batch of images. Received: images of shape {images.shape}, boxes of shape "
            f"{boxes.shape}, labels of shape {labels.shape}"
        )
    if not boxes.dtype.is_floating:
        raise TypeError(
            f'`{name}` takes "boxes" of a float dtype: left, top, right and bottom in pixels. '
            f"Received: boxes of dtype {boxes.dtype.name}"
        )
    if labels.dtype.is_unsigned or not (labels.dtype.is_floating or labels.dtype.is_integer):
        raise TypeError(
            f'`{name}` takes "labels" of boxes of a dtype that holds -1, the label of a box that has left the image. '
            f"Received: labels of dtype {labels.dtype.name}"
        )
