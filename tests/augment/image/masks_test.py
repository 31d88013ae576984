"""What stands beside images moves with them: masks, boxes, and keys that a layer does not know."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.augment import image

SEED = tf.constant([11, 12], tf.int64)
HEIGHT, WIDTH = 20, 26


class Motions(image.RandAugment):
    """The motions of RandAugment alone, so that an image shows where its mask should be."""

    OPERATIONS = {name: end for name, end in image.RandAugment.OPERATIONS.items() if isinstance(end, tuple)}


class Colors(image.RandAugment):
    """The operations of RandAugment that do not move images."""

    OPERATIONS = {name: end for name, end in image.RandAugment.OPERATIONS.items() if not isinstance(end, tuple)}


MOVING = {
    "crop_and_pad": lambda **kwargs: image.RandomCropAndPad(factor=0.6, **kwargs),
    "perspective": lambda **kwargs: image.RandomPerspective(factor=0.9, **kwargs),
    "policy": lambda **kwargs: Motions(num_ops=3, **kwargs),
    "resized_crop": lambda **kwargs: image.RandomResizedCrop(factor=0.6, **kwargs),
    "rotation": lambda **kwargs: image.RandomRotation(factor=1.0, **kwargs),
    "shear": lambda **kwargs: image.RandomShear(factor=0.5, **kwargs),
    "translation": lambda **kwargs: image.RandomTranslation(factor=0.6, **kwargs),
    "zoom": lambda **kwargs: image.RandomZoom(factor=1.0, **kwargs),
}
RESTING = {"cutout": image.Cutout, "colors": Colors}
WITHOUT_FILL = {"flip": image.RandomFlip, "shift": lambda: image.RandomShift(factor=0.5)}
# Batches of one size: for another, all is compiled again.
COUNT = 24
moving = pytest.mark.parametrize("name", MOVING)


def make(name, **kwargs):
    """A layer by its name, which takes the nearest pixels for images too and fills with 0."""
    if name in MOVING:
        return MOVING[name](interpolation="nearest", fill=0.0, **kwargs)
    return {**RESTING, **WITHOUT_FILL}[name]()


def pictures(count=COUNT, seed=0):
    return np.random.default_rng(seed).integers(1, 256, [count, HEIGHT, WIDTH, 1]).astype("uint8")


def examples(count=COUNT, boxes=2):
    """Bytes, masks of large labels, and boxes within the image."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, [WIDTH, HEIGHT], [count, boxes, 2, 2])
    corners = np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=-1)
    return {
        "images": pictures(count),
        "segmentation_masks": pictures(count)[..., 0].astype("int32") + 2**25,
        "bounding_boxes": {"boxes": corners.astype("float32"), "labels": rng.integers(0, 9, [count, boxes])},
        "labels": rng.integers(0, 10, [count]),
    }


def assert_same(ours, expected):
    tf.nest.assert_same_structure(ours, expected)
    for leaf, other in zip(tf.nest.flatten(ours), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(leaf, other, atol=1e-3)


class TestMasks:
    @pytest.mark.parametrize("name", [*MOVING, *WITHOUT_FILL])
    def test_a_mask_moves_as_its_image(self, name):
        images = pictures()
        # A mask of another dtype and rank than its image; 0 is the fill, and no pixel's value.
        views = make(name)({"images": images, "segmentation_masks": images[..., 0].astype("int32")}, seed=SEED)
        np.testing.assert_array_equal(views["segmentation_masks"], views["images"][..., 0])
        assert np.mean(views["images"] != images) > 0.2

    @pytest.mark.parametrize("name", RESTING)
    def test_a_layer_that_moves_nothing_leaves_it(self, name):
        batch = examples()
        views = make(name)(batch, seed=SEED)
        assert np.any(views["images"] != batch["images"])
        assert_same({**views, "images": batch["images"]}, batch)

    @pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
    def test_it_takes_the_nearest_pixel_whatever_the_image_takes(self, interpolation):
        masks = pictures() // 128 * 100
        layer = image.RandomRotation(interpolation=interpolation)
        ours = layer({"images": pictures(), "segmentation_masks": masks}, seed=SEED)["segmentation_masks"]
        assert set(np.unique(ours)) == {0, 100}
        expected = make("rotation").transform_images(tf.constant(masks), layer.get_random_transformation(SEED, masks))
        np.testing.assert_array_equal(ours, expected)

    @pytest.mark.parametrize("name", ["rotation", "flip", "shift"])
    @pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("int16", None), ("float32", 5), ("bfloat16", 1)])
    def test_shape_and_dtype_are_kept(self, name, dtype, channels):
        masks = pictures()[..., 0]
        masks = tf.cast(masks if channels is None else np.repeat(masks[..., None], channels, axis=-1), dtype)
        ours = make(name)({"images": pictures(), "segmentation_masks": masks}, seed=SEED)["segmentation_masks"]
        assert ours.shape == masks.shape and ours.dtype == masks.dtype
        assert set(np.unique(ours)) <= {0, *np.unique(masks)}

    @pytest.mark.parametrize("name", ["rotation", "policy", "shift"])
    def test_labels_beyond_float32_stay_whole(self, name):
        masks = pictures()[..., 0].astype("int64") + 2**53
        ours = make(name)({"images": pictures(), "segmentation_masks": masks}, seed=SEED)["segmentation_masks"]
        assert set(np.unique(ours)) <= {0, *np.unique(masks)}

    @pytest.mark.parametrize(("dtype", "mask_fill"), [("uint8", 255), ("int32", -1), ("float32", 0.5)])
    @pytest.mark.parametrize("name", ["translation", "policy"])
    def test_fill_of_masks_is_its_own(self, name, dtype, mask_fill):
        batch = {"images": pictures(), "segmentation_masks": np.full([COUNT, HEIGHT, WIDTH], 7, dtype)}
        views = make(name, mask_fill=mask_fill)(batch, seed=SEED)
        outside = views["images"][..., 0] == 0
        assert np.any(outside)
        np.testing.assert_array_equal(views["segmentation_masks"], np.where(outside, mask_fill, 7).astype(dtype))


class TestBoxes:
    @moving
    @pytest.mark.parametrize("box", [(6, 5, 19, 14), (0, 0, 8, 7), (15, 2, 26, 20)])
    def test_it_is_around_what_is_seen_of_a_moved_rectangle(self, name, box):
        left, top, right, bottom = box
        images = np.zeros([COUNT, HEIGHT, WIDTH, 1], "uint8")
        images[:, top:bottom, left:right] = 255
        boxes = {"boxes": np.tile(np.array([[box]], "float32"), [COUNT, 1, 1]), "labels": np.full([COUNT, 1], 3)}
        views = make(name)({"images": images, "bounding_boxes": boxes}, seed=SEED)
        seen = 0
        moved = (views["bounding_boxes"][key][:, 0].numpy() for key in ("boxes", "labels"))
        for pixels, ours, label in zip(views["images"][..., 0].numpy(), *moved, strict=True):
            rows, columns = np.nonzero(pixels.any(axis=1))[0], np.nonzero(pixels.any(axis=0))[0]
            if not len(rows):
                # Less than a pixel may still be in the image.
                assert label == -1 or np.prod(ours[2:] - ours[:2]) < 12
                continue
            seen += 1
            assert label == 3
            corners_cut = name in ("rotation", "shear", "perspective", "policy")
            expected = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert np.all(ours[:2] <= np.add(expected[:2], 1)) and np.all(ours[2:] >= np.subtract(expected[2:], 1))
            inside = ours[0] > 0 and ours[1] > 0 and ours[2] < WIDTH and ours[3] < HEIGHT
            if inside or not corners_cut:
                # A sharp corner is seen only where a pixel's centre lies in it.
                np.testing.assert_allclose(ours, expected, atol=2.5 if corners_cut else 0.51)
        assert seen >= 12

    def test_mirrored_and_shifted_boxes_are_exact(self):
        images = pictures(3)
        boxes = np.array([[[1, 2, 5, 9]], [[0, 0, 26, 20]], [[20, 1, 24, 3]]], "float32")
        batch = {"boxes": boxes, "labels": np.array([[4], [5], [6]])}
        flip = image.RandomFlip(probability=1.0)({"images": images, "bounding_boxes": batch}, seed=SEED)
        expected = np.stack([26 - boxes[..., 2], boxes[..., 1], 26 - boxes[..., 0], boxes[..., 3]], axis=-1)
        np.testing.assert_array_equal(flip["bounding_boxes"]["boxes"], expected)
        layer = image.RandomShift(factor=0.5)
        down, right = layer.get_random_transformation(SEED, images).numpy().T
        offset = np.stack([right, down, right, down], axis=-1)[:, None]
        moved = keras.utils.bounding_boxes.clip_to_image_size({**batch, "boxes": boxes + offset}, HEIGHT, WIDTH)
        assert_same(layer({"images": images, "bounding_boxes": batch}, seed=SEED)["bounding_boxes"], moved)

    def test_what_leaves_the_image_is_labelled_as_keras_does(self):
        batch = examples(boxes=5)
        layer = image.RandomTranslation(factor=1.0)
        down, right = layer.get_random_transformation(SEED, batch["images"]).numpy().T
        offset = np.stack([right * WIDTH, down * HEIGHT] * 2, axis=-1)[:, None].astype("float32")
        boxes = batch["bounding_boxes"]
        expected = {**boxes, "boxes": boxes["boxes"] + offset}
        expected = keras.utils.bounding_boxes.clip_to_image_size(expected, HEIGHT, WIDTH)
        ours = layer(batch, seed=SEED)["bounding_boxes"]
        np.testing.assert_array_equal(ours["labels"], expected["labels"])
        np.testing.assert_allclose(ours["boxes"], expected["boxes"], atol=1e-3)
        assert 0.1 < np.mean(np.asarray(ours["labels"]) == -1) < 0.9

    def test_no_box_stays_no_box(self):
        batch = {"boxes": np.full([COUNT, 2, 4], -1.0, "float32"), "labels": np.full([COUNT, 2], -1)}
        for name in MOVING:
            views = make(name)({"images": pictures(), "bounding_boxes": batch}, seed=SEED)
            assert np.all(views["bounding_boxes"]["labels"] == -1)

    @pytest.mark.parametrize(("boxes", "labels"), [("float32", "int64"), ("float64", "int32"), ("float16", "float32")])
    def test_dtypes_are_kept(self, boxes, labels):
        batch = {"boxes": np.tile([[[1, 2, 9, 8]]], [COUNT, 1, 1]).astype(boxes), "labels": np.ones([COUNT, 1], labels)}
        ours = make("rotation")({"images": pictures(), "bounding_boxes": batch}, seed=SEED)["bounding_boxes"]
        assert (ours["boxes"].dtype, ours["labels"].dtype) == (boxes, labels)


class TestDictionaries:
    @pytest.mark.parametrize("name", [*MOVING, *WITHOUT_FILL, "cutout"])
    def test_images_are_as_without_and_other_keys_pass(self, name):
        batch = {**examples(), "path": np.array([b"x"] * COUNT), "more": {"index": np.arange(COUNT)}}
        before = {key: batch[key] for key in batch}
        views = make(name)(batch, seed=SEED)
        np.testing.assert_array_equal(views["images"], make(name)(batch["images"], seed=SEED))
        assert list(views) == list(batch) and list(batch) == list(before)
        for key in ("labels", "path", "more"):
            tf.nest.map_structure(np.testing.assert_array_equal, views[key], batch[key])
        assert all(batch[key] is before[key] for key in batch)

    @pytest.mark.parametrize("name", ["rotation", "flip", "shift"])
    def test_one_example_is_a_batch_of_one(self, name):
        batch = examples(1)
        one = tf.nest.map_structure(lambda leaf: leaf[0], batch)
        expected = tf.nest.map_structure(lambda leaf: leaf[0], make(name)(batch, seed=SEED))
        assert_same(make(name)(one, seed=SEED), expected)

    @pytest.mark.parametrize("name", ["perspective", "policy", "flip", "shift"])
    @pytest.mark.parametrize("jit", [False, True])
    def test_graph_and_xla_do_what_eager_calls_do(self, name, jit):
        layer, batch = make(name), tf.nest.map_structure(tf.convert_to_tensor, examples())
        run = tf.function(lambda batch: layer(batch, training=True, seed=SEED), jit_compile=jit)
        assert_same(run(batch), layer(batch, seed=SEED))

    @pytest.mark.parametrize(("name", "batched"), [("rotation", True), ("rotation", False), ("policy", True)])
    def test_dataset_map_does_what_eager_calls_do(self, name, batched):
        layer, rows = make(name), tf.data.Dataset.from_tensor_slices(examples(2 * COUNT if batched else 3))
        data = (rows.batch(COUNT, drop_remainder=True) if batched else rows).enumerate()
        views = data.map(
            lambda step, batch: layer(batch, training=True, seed=tf.stack([step, 1])), num_parallel_calls=2
        )
        for step, (ours, (_, batch)) in enumerate(zip(views, data, strict=True)):
            assert_same(ours, layer(batch, seed=tf.constant([step, 1], tf.int64)))

    def test_images_of_unknown_size_pass_in_a_graph(self):
        layer, batch = make("policy"), examples()
        batch.pop("labels")
        signature = tf.nest.map_structure(lambda leaf: tf.TensorSpec([None] * leaf.ndim, leaf.dtype), batch)
        signature["images"] = tf.TensorSpec([None, None, None, 1], tf.uint8)
        signature["bounding_boxes"]["boxes"] = tf.TensorSpec([None, None, 4])
        run = tf.function(lambda batch: layer(batch, training=True, seed=SEED), input_signature=[signature])
        assert_same(run(batch), layer(batch, seed=SEED))

    def test_a_chain_moves_masks_through_all_of_its_layers(self):
        batch = examples()
        views = image.strong(flip=True, seed=3)(batch)
        masks = image.strong(flip=True, seed=3)(batch)["segmentation_masks"]
        np.testing.assert_array_equal(views["segmentation_masks"], masks)
        assert np.mean(views["segmentation_masks"] != batch["segmentation_masks"]) > 0.3
        assert_same(image.strong(seed=3)(batch, training=False), batch)

    # Keras itself: it gives NumPy 2 its variables, which do not know the argument `copy`.
    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    def test_functional_model_of_dictionaries_is_saved_and_loaded(self, tmp_path):
        batch = examples()
        boxes = {key: keras.Input(leaf.shape[1:], dtype=leaf.dtype) for key, leaf in batch["bounding_boxes"].items()}
        keys = ("images", "segmentation_masks", "labels")
        inputs = {key: keras.Input(batch[key].shape[1:], dtype=batch[key].dtype, name=key) for key in keys}
        inputs["bounding_boxes"] = boxes
        layer = image.RandomRotation(factor=0.2, mask_fill=9, seed=3)
        model = keras.Model(inputs, layer(inputs))
        model.save(tmp_path / "model.keras")
        restored = keras.models.load_model(tmp_path / "model.keras")
        assert_same(restored(batch, training=True), model(batch, training=True))
        assert_same(restored(batch, training=False), batch)

    @pytest.mark.parametrize(
        "layer",
        [
            image.RandomFlip(probability=0.0),
            image.RandomRotation(factor=0.0),
            image.RandomPerspective(factor=0.0),
            image.RandomResizedCrop(factor=0.0),
            image.RandAugment(magnitude=0.0),
            image.RandAugment(num_ops=0),
        ],
        ids=lambda layer: layer.name,
    )
    def test_strength_zero_changes_nothing(self, layer):
        batch = examples()
        # Beyond the image, or empty: nothing moves, and nothing is clipped.
        batch["bounding_boxes"]["boxes"][:, 0] = [-3.3, 4.4, 70.7, 4.4]
        tf.nest.map_structure(np.testing.assert_array_equal, layer(batch, seed=SEED), batch)

    @pytest.mark.parametrize(("count", "boxes"), [(0, 2), (COUNT, 0)])
    def test_empty_batches_and_no_boxes_pass(self, count, boxes):
        for name in ("rotation", "policy", "flip", "shift"):
            batch = examples(count, boxes)
            views = make(name)(batch, seed=SEED)
            assert tf.nest.map_structure(np.shape, views) == tf.nest.map_structure(np.shape, batch)


class TestBadInput:
    images = pictures(2)
    boxes = np.zeros([2, 3, 4], "float32")
    labels = np.zeros([2, 3], "int64")

    def call(self, **beside):
        return image.RandomRotation()({"images": self.images, **beside})

    def test_dictionary_without_images(self):
        with pytest.raises(ValueError, match=r"`RandomFlip` takes images, or a dictionary.*Received:.*\['x'\]"):
            image.RandomFlip()({"x": self.images})

    @pytest.mark.parametrize("shape", [(2,), (HEIGHT, WIDTH), (2, HEIGHT, WIDTH, 1, 1)])
    def test_rank_of_masks(self, shape):
        with pytest.raises(ValueError, match=r'takes "segmentation_masks" of shape .*masks of shape'):
            self.call(segmentation_masks=np.zeros(shape, "uint8"))

    @pytest.mark.parametrize("shape", [(3, HEIGHT, WIDTH), (2, HEIGHT // 2, WIDTH // 2, 1), (2, WIDTH, HEIGHT)])
    def test_size_of_masks(self, shape):
        with pytest.raises(ValueError, match="of the number and size of the images: resize them first.*masks of shape"):
            self.call(segmentation_masks=np.zeros(shape, "uint8"))

    @pytest.mark.parametrize("dtype", ["bool", "S1"])
    def test_dtype_of_masks(self, dtype):
        with pytest.raises(TypeError, match='takes "segmentation_masks" of an integer or float dtype. Received:'):
            self.call(segmentation_masks=np.zeros([2, HEIGHT, WIDTH], dtype))

    @pytest.mark.parametrize(("mask_fill", "dtype"), [(256, "uint8"), (-1, "uint8"), (0.5, "int32"), (1e10, "int32")])
    def test_fill_that_masks_cannot_hold(self, mask_fill, dtype):
        with pytest.raises(ValueError, match=rf"`mask_fill` of `RandomZoom` must .* {dtype}. Received: mask_fill="):
            image.RandomZoom(mask_fill=mask_fill)(
                {"images": self.images, "segmentation_masks": np.zeros([2, HEIGHT, WIDTH], dtype)}
            )

    @pytest.mark.parametrize("keys", [["boxes"], ["labels"], ["boxes", "labels", "confidence"], []])
    def test_keys_of_boxes(self, keys):
        given = {"boxes": self.boxes, "labels": self.labels, "confidence": self.labels}
        with pytest.raises(ValueError, match='"bounding_boxes" as a dictionary of "boxes" and "labels". Received:'):
            self.call(bounding_boxes={key: given[key] for key in keys})

    def test_boxes_that_are_no_dictionary(self):
        with pytest.raises(ValueError, match='"bounding_boxes" as a dictionary of "boxes" and "labels". Received:'):
            self.call(bounding_boxes=self.boxes)

    @pytest.mark.parametrize(
        ("boxes", "labels"),
        [
            ((2, 3, 5), (2, 3)),
            ((2, 3, 4), (2, 2)),
            ((3, 4), (3,)),
            ((3, 3, 4), (3, 3)),
            ((2, 3, 4), (2, 3, 1)),
        ],
    )
    def test_shapes_of_boxes(self, boxes, labels):
        with pytest.raises(
            ValueError, match=r'"boxes" of shape \(boxes, 4\) and "labels" of shape \(boxes,\).*labels of'
        ):
            self.call(bounding_boxes={"boxes": np.zeros(boxes, "float32"), "labels": np.zeros(labels, "int64")})

    def test_dtypes_of_boxes(self):
        with pytest.raises(TypeError, match='"boxes" of a float dtype.*Received: boxes of dtype int64'):
            self.call(bounding_boxes={"boxes": self.boxes.astype("int64"), "labels": self.labels})
        with pytest.raises(
            TypeError, match='"labels" of boxes of a dtype that holds -1.*Received: labels of dtype uint8'
        ):
            self.call(bounding_boxes={"boxes": self.boxes, "labels": self.labels.astype("uint8")})

    def test_ragged_boxes(self):
        ragged = tf.RaggedTensor.from_row_lengths(tf.zeros([3, 4]), [1, 2])
        with pytest.raises(TypeError, match="takes dense masks and boxes.*to_tensor.*Received: a RaggedTensor"):
            self.call(bounding_boxes={"boxes": ragged, "labels": self.labels})

    def test_images_in_a_dictionary_are_checked_too(self):
        with pytest.raises(TypeError, match="takes uint8 or float images"):
            image.RandomFlip()({"images": self.images.astype("int32")})
