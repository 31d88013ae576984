"""What holds for every image layer: a row of the table is a test of each of its promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.augment import image

LAYERS = {
    # Of the layers that only differ in an operation of `ops.color`, some; for the others see color_layers_test.py.
    "blur": lambda **kwargs: image.RandomGaussianBlur(**kwargs),
    "brightness": lambda **kwargs: image.RandomBrightness(**kwargs),
    "jitter": lambda **kwargs: image.RandomColorJitter(**kwargs),
    "erasing": lambda **kwargs: image.RandomErasing(**kwargs),
    "noise": lambda **kwargs: image.GaussianNoise(**kwargs),
    "patch_masking": lambda **kwargs: image.PatchMasking(**kwargs),
    "cutout": lambda **kwargs: image.Cutout(**kwargs),
    "flip": lambda **kwargs: image.RandomFlip(**kwargs),
    "shift": lambda **kwargs: image.RandomShift(**kwargs),
    "crop_and_pad": lambda **kwargs: image.RandomCropAndPad(**kwargs),
    "perspective": lambda **kwargs: image.RandomPerspective(**kwargs),
    "resized_crop": lambda **kwargs: image.RandomResizedCrop(**kwargs),
    "rotation": lambda **kwargs: image.RandomRotation(**kwargs),
    "shear": lambda **kwargs: image.RandomShear(**kwargs),
    "translation": lambda **kwargs: image.RandomTranslation(**kwargs),
    "zoom": lambda **kwargs: image.RandomZoom(**kwargs),
    # Of the policies, one that is like the others, and the one that is not.
    "rand_augment": lambda **kwargs: image.RandAugment(num_ops=2, **kwargs),
    "augmix": lambda **kwargs: image.AugMix(**kwargs),
    "weak": lambda **kwargs: image.weak(flip=True, **kwargs),
    "strong": lambda **kwargs: image.strong(flip=True, **kwargs),
}
IDENTITIES = {
    "auto_contrast": lambda: image.AutoContrast(probability=0.0),
    "blur": lambda: image.RandomGaussianBlur(sigma=0.0),
    "brightness": lambda: image.RandomBrightness(factor=0.0),
    "brightness_probability": lambda: image.RandomBrightness(probability=0.0),
    "contrast": lambda: image.RandomContrast(factor=0.0),
    "equalization": lambda: image.Equalization(probability=0.0),
    "erasing": lambda: image.RandomErasing(probability=1.0, area=(0.0, 0.0)),
    "erasing_probability": lambda: image.RandomErasing(probability=0.0),
    "grayscale": lambda: image.RandomGrayscale(probability=0.0),
    "hue": lambda: image.RandomHue(factor=0.0),
    "invert": lambda: image.RandomInvert(probability=0.0),
    "jitter": lambda: image.RandomColorJitter(
        brightness_factor=0.0, contrast_factor=0.0, saturation_factor=0.0, hue_factor=0.0
    ),
    "jitter_probability": lambda: image.RandomColorJitter(probability=0.0),
    "noise": lambda: image.GaussianNoise(stddev=0.0),
    "patch_masking": lambda: image.PatchMasking(ratio=0.0),
    "posterization": lambda: image.RandomPosterization(factor=0.0),
    "saturation": lambda: image.RandomSaturation(factor=0.0),
    "sharpness": lambda: image.RandomSharpness(factor=0.0),
    "solarization": lambda: image.Solarization(factor=0.0),
    "cutout": lambda: image.Cutout(size=0.0),
    "flip": lambda: image.RandomFlip(probability=0.0),
    "shift": lambda: image.RandomShift(factor=0.0),
    "crop_and_pad": lambda: image.RandomCropAndPad(factor=0.0),
    "perspective": lambda: image.RandomPerspective(factor=0.0),
    "resized_crop": lambda: image.RandomResizedCrop(factor=0.0),
    "rotation": lambda: image.RandomRotation(factor=0.0),
    "shear": lambda: image.RandomShear(factor=0.0),
    "translation": lambda: image.RandomTranslation(factor=0.0),
    "zoom": lambda: image.RandomZoom(factor=0.0),
    "augmix": lambda: image.AugMix(severity=0.0),
    "ct_augment": lambda: image.CTAugment(magnitude=0.0),
    "trivial_augment": lambda: image.TrivialAugment(magnitude=0.0),
    "magnitude": lambda: image.RandAugment(magnitude=0.0),
    "magnitude_fixed": lambda: image.RandAugment(magnitude=0.0, uniform_magnitude=False),
    "num_ops": lambda: image.RandAugment(num_ops=0),
    "probability": lambda: image.RandAugment(probability=0.0),
}
# Layers whose views of float images are not rounded to 8 bits, and how many levels off the views of bytes may be.
CONTINUOUS = {"blur": 1.0, "brightness": 1.0, "jitter": 5.0, "erasing": 1.0, "noise": 1.0}
CONTINUOUS |= dict.fromkeys(
    ["crop_and_pad", "perspective", "resized_crop", "rotation", "shear", "translation", "zoom"], 1.0
)
SEED = tf.constant([11, 12], tf.int64)


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


def pictures(count=8, height=15, width=18, channels=3, dtype="uint8"):
    """Images; nearly all tests take as many of one size, since every other shape is another program to compile."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 3, 3, channels)).astype("uint8")
    fine = np.kron(coarse, np.ones((1, -(-height // 3), -(-width // 3), 1)))[:, :height, :width]
    return np.clip(fine + rng.integers(0, 30, fine.shape), 0, 255).astype(dtype)


def assert_same_views(ours, expected, levels=1.0):
    """Equal, but for pixels on the edge of a warp, where another compiler may round to the other side."""
    difference = np.abs(np.asarray(ours, "float32") - np.asarray(expected, "float32"))
    assert np.mean(difference > levels) <= 0.002


def test_views_differ_from_the_images_and_between_equal_images(make):
    same = np.repeat(pictures(1), 8, axis=0)
    views = make(seed=1)(same).numpy()
    assert len({view.tobytes() for view in views}) >= 2


def test_seed_repeats_the_views_and_another_does_not(make):
    images = pictures()
    np.testing.assert_array_equal(make(seed=1)(images), make(seed=1)(images))
    np.testing.assert_array_equal(make()(images, seed=SEED), make()(images, seed=SEED))
    assert np.any(make(seed=1)(images) != make(seed=2)(images))


def assert_shape_and_dtype_are_kept(layer, dtype, channels):
    images = tf.cast(pictures(channels=channels), dtype)
    views = layer(images, seed=SEED)
    assert views.dtype == images.dtype and views.shape == images.shape


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("float16", 3)])
def test_shape_and_dtype_are_kept(make, dtype, channels):
    assert_shape_and_dtype_are_kept(make(), dtype, channels)


@pytest.mark.parametrize("name", ["jitter", "rotation", "strong"])
@pytest.mark.parametrize(("dtype", "channels"), [("bfloat16", 1), ("float64", 3)])
def test_shape_and_dtype_of_other_floats_are_kept(name, dtype, channels):
    assert_shape_and_dtype_are_kept(LAYERS[name](), dtype, channels)


def test_one_image_is_a_batch_of_one(make):
    images = pictures()
    one = make()(images[0], seed=SEED)
    assert one.dtype == "uint8" and one.shape == images.shape[1:]
    np.testing.assert_array_equal(one, make()(images[:1], seed=SEED)[0])


def test_dtype_is_kept_under_mixed_precision(make):
    keras.config.set_dtype_policy("mixed_float16")
    assert make()(tf.cast(pictures(), tf.float32)).dtype == tf.float32


@pytest.mark.parametrize("name", LAYERS)
def test_float_views_are_the_views_of_the_same_bytes(name):
    make, images = LAYERS[name], pictures()
    bytes_ = make()(images, seed=SEED).numpy().astype("float32")
    floats = make()(images.astype("float32"), seed=SEED).numpy()
    units = make(value_range=(0, 1))((images / 255).astype("float32"), seed=SEED).numpy()
    signed = make(value_range=(-1, 1))((images / 127.5 - 1).astype("float32"), seed=SEED).numpy()
    for views in (floats, units * 255, (signed + 1) * 127.5):
        if name in CONTINUOUS:
            assert_same_views(views, bytes_, levels=CONTINUOUS[name])
        else:
            np.testing.assert_allclose(views, bytes_, atol=1e-2)


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_strength_zero_is_the_identity_to_the_bit(name, dtype):
    images = pictures() if dtype == "uint8" else pictures(dtype="float32") * np.float32(0.7131)
    np.testing.assert_array_equal(IDENTITIES[name]()(images), images)


def test_inference_is_the_identity(make):
    np.testing.assert_array_equal(make()(pictures(), training=False), pictures())


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", ["cutout", "flip", "shift", "rand_augment"])
def test_graph_and_xla_make_the_eager_views(name, jit):
    layer, images = LAYERS[name](), pictures()
    views = tf.function(lambda images, seed: layer(images, training=True, seed=seed), jit_compile=jit)(images, SEED)
    assert_same_views(views, layer(images, seed=SEED))


@pytest.mark.parametrize(("name", "calls"), [("flip", 2), ("cutout", 2), ("shift", 2), ("strong", None), ("strong", 2)])
def test_dataset_map_makes_the_eager_views(name, calls):
    layer, images = LAYERS[name](), pictures(24)
    seeds = np.arange(6).reshape(3, 2)
    data = tf.data.Dataset.zip(
        tf.data.Dataset.from_tensor_slices(images).batch(8, drop_remainder=True),
        tf.data.Dataset.from_tensor_slices(seeds),
    )
    views = data.map(lambda images, seed: layer(images, training=True, seed=seed), num_parallel_calls=calls)
    expected = [layer(images[8 * k : 8 * k + 8], seed=seeds[k]) for k in range(3)]
    assert_same_views(np.stack(list(views.as_numpy_iterator())), np.stack(expected))


def test_dataset_map_repeats_with_the_layers_own_seed(make):
    data = tf.data.Dataset.from_tensor_slices(pictures())
    runs = [np.stack(list(data.map(make(seed=3)).as_numpy_iterator())) for _ in range(2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    layer = make(seed=3)
    assert_same_views(runs[0], np.stack([layer(one) for one in pictures()]))


@pytest.mark.parametrize("name", ["flip", "jitter", "noise", "rotation", "strong"])
def test_images_of_unknown_size_pass_in_a_graph(name):
    layer, images = LAYERS[name](), pictures()
    run = tf.function(
        lambda images: layer(images, training=True, seed=SEED),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    assert_same_views(run(images), layer(images, seed=SEED))


@pytest.mark.parametrize(("name", "jit"), [("flip", False), ("strong", False), ("strong", True)])
def test_compiled_model_makes_the_eager_views(name, jit):
    seen = tf.Variable(tf.zeros([8, 15, 18, 3]))

    class Spy(keras.layers.Layer):
        """Keeps what it is given in training."""

        def call(self, inputs, training=False):
            if training:
                seen.assign(inputs)
            return inputs

    model = keras.Sequential(
        [keras.Input([15, 18, 3]), LAYERS[name](seed=4), Spy(), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit)
    images = pictures(dtype="float32")
    model.fit(images, np.zeros([8, 1]), batch_size=8, epochs=1, verbose=0, shuffle=False)
    assert_same_views(seen, LAYERS[name](seed=4)(images))


def test_functional_model_takes_the_layer(make):
    inputs = keras.Input([15, 18, 3], dtype="uint8")
    outputs = make(seed=2)(inputs)
    assert outputs.shape == (None, 15, 18, 3) and outputs.dtype == "uint8"
    model = keras.Model(inputs, outputs)
    np.testing.assert_array_equal(model.predict(pictures(), verbose=0), pictures())


@pytest.mark.parametrize("name", ["cutout", "flip", "jitter", "noise", "patch_masking", "rotation", "strong"])
def test_replicas_make_the_views_of_one(name):
    make = LAYERS[name]
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
    images = pictures()
    with strategy.scope():
        layer = make(seed=1)

    @tf.function
    def step(images):
        return strategy.run(lambda images: layer(images, training=True), args=(images,))

    halves = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(np.split(images, 2)[context.replica_id_in_sync_group])
    )
    views = np.concatenate(strategy.experimental_local_results(step(halves)))
    assert_same_views(views, make(seed=1)(images))
    assert not np.array_equal(views, images)


def test_config_names_every_argument_and_round_trips(make):
    layer = make(seed=8, value_range=(0, 1))
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert restored.get_config() == layer.get_config()
    images = (pictures() / 255).astype("float32")
    np.testing.assert_array_equal(restored(images), layer(images))


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (8, 1, 1, 3), (8, 1, 2, 1)])
def test_empty_batches_and_tiny_images_pass(make, shape):
    images = tf.fill(shape, 200.0)
    assert make(seed=1)(images).shape == shape


class TestBadInput:
    @pytest.mark.parametrize("shape", [(8, 8), (2, 2, 8, 8, 3), (2, 8, 8, 4), (8, 8, 2)])
    def test_rank_and_channels(self, make, shape):
        with pytest.raises(ValueError, match="takes images .*Received: images of shape"):
            make()(np.zeros(shape, "uint8"))

    @pytest.mark.parametrize("dtype", ["int32", "bool", "int8"])
    def test_dtype(self, make, dtype):
        with pytest.raises(TypeError, match="takes uint8 or float images.*Received: images of dtype"):
            make()(tf.zeros([2, 8, 8, 3], dtype))

    def test_bytes_with_another_value_range(self, make):
        with pytest.raises(ValueError, match=r"`value_range` of .* must be \(0, 255\) for uint8"):
            make(value_range=(0, 1))(pictures())

    @pytest.mark.parametrize(
        ("value_range", "scale", "offset"), [((0, 1), 1.0, 0.0), ((0, 255), 2.0, 0.0), ((0, 255), 1.0, -90.0)]
    )
    def test_values_outside_the_range(self, make, value_range, scale, offset):
        images = pictures(dtype="float32") * scale + offset
        layer = make(value_range=value_range)
        with pytest.raises(ValueError, match="have values outside it.*Received"):
            layer(images)

    def test_unit_images_taken_for_bytes(self, make):
        images = (pictures() / 255).astype("float32")
        with pytest.raises(
            ValueError, match=r"all pixels of the batch lie between 0 and 1. Pass `value_range=\(0, 1\)`"
        ):
            make()(images)

    def test_values_are_checked_in_a_graph_too(self):
        layer, images = image.Cutout(), pictures(dtype="float32")
        with pytest.raises(tf.errors.InvalidArgumentError, match="have values outside it"):
            tf.function(lambda images: layer(images, training=True))(images * 2)
        with pytest.raises(tf.errors.InvalidArgumentError, match="all pixels of the batch lie between"):
            list(tf.data.Dataset.from_tensors(images / 255).map(layer))

    def test_constant_float_batch_passes(self, make):
        assert make()(np.zeros([8, 15, 18, 3], "float32")).shape == (8, 15, 18, 3)

    def test_nan(self, make):
        images = pictures(dtype="float32")
        images[2, 3, 4, 1] = np.nan
        with pytest.raises(ValueError, match="have values outside it.*nan"):
            make()(images)

    @pytest.mark.parametrize("value_range", [(1, 0), (0, 0), 255, (0, 1, 2), ("0", "1"), None])
    def test_value_range(self, make, value_range):
        with pytest.raises(ValueError, match="`value_range` must be two numbers"):
            make(value_range=value_range)

    @pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", None, float("nan")])
    @pytest.mark.parametrize(
        ("layer", "argument"),
        [
            (image.GaussianNoise, "stddev"),
            (image.PatchMasking, "ratio"),
            (image.PatchMasking, "fill"),
            (image.RandomBrightness, "factor"),
            (image.RandomBrightness, "probability"),
            (image.RandomColorJitter, "brightness_factor"),
            (image.RandomColorJitter, "contrast_factor"),
            (image.RandomColorJitter, "saturation_factor"),
            (image.RandomColorJitter, "hue_factor"),
            (image.RandomColorJitter, "probability"),
            (image.RandomErasing, "probability"),
            (image.RandomGaussianBlur, "probability"),
            (image.RandomGrayscale, "probability"),
            (image.RandomHue, "factor"),
            (image.RandomInvert, "probability"),
            (image.RandomPosterization, "factor"),
            (image.Solarization, "factor"),
            (image.Cutout, "size"),
            (image.Cutout, "fill"),
            (image.RandomFlip, "probability"),
            (image.RandomShift, "factor"),
            (image.AugMix, "severity"),
            (image.CTAugment, "magnitude"),
            (image.CTAugment, "threshold"),
            (image.CTAugment, "decay"),
            (image.TrivialAugment, "magnitude"),
            (image.RandAugment, "magnitude"),
            (image.RandAugment, "probability"),
            (image.RandAugment, "fill"),
        ],
    )
    def test_fractions(self, layer, argument, value):
        with pytest.raises(ValueError, match=rf"`{argument}` must be a number in \[0, 1\]. Received: {argument}="):
            layer(**{argument: value})
