"""Keras's image layers with the seed of a call: every one that draws nothing by itself, in every mode but XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency import augment

layers = keras.layers
LAYERS = {
    layers.CutMix: lambda: layers.CutMix(),
    layers.MixUp: lambda: layers.MixUp(),
    layers.RandomBrightness: lambda: layers.RandomBrightness(0.5),
    layers.RandomColorDegeneration: lambda: layers.RandomColorDegeneration(0.5),
    layers.RandomContrast: lambda: layers.RandomContrast(0.5),
    layers.RandomElasticTransform: lambda: layers.RandomElasticTransform(1.0, 0.5),
    layers.RandomErasing: lambda: layers.RandomErasing(),
    layers.RandomFlip: lambda: layers.RandomFlip(),
    layers.RandomGaussianBlur: lambda: layers.RandomGaussianBlur(1.0),
    layers.RandomGrayscale: lambda: layers.RandomGrayscale(0.5),
    layers.RandomHue: lambda: layers.RandomHue(0.5),
    layers.RandomInvert: lambda: layers.RandomInvert(),
    layers.RandomPerspective: lambda: layers.RandomPerspective(),
    layers.RandomPosterization: lambda: layers.RandomPosterization(4),
    layers.RandomRotation: lambda: layers.RandomRotation(0.2),
    layers.RandomSaturation: lambda: layers.RandomSaturation(0.5),
    layers.RandomSharpness: lambda: layers.RandomSharpness(0.5),
    layers.RandomShear: lambda: layers.RandomShear(0.3, 0.3),
    layers.RandomTranslation: lambda: layers.RandomTranslation(0.2, 0.2),
    layers.RandomZoom: lambda: layers.RandomZoom(0.3),
    layers.Solarization: lambda: layers.Solarization(0.5, 0.5),
}
UNSEEDED = (layers.AugMix, layers.RandAugment, layers.RandomColorJitter)
FEW = (layers.RandomElasticTransform, layers.RandomErasing, layers.RandomGaussianBlur, layers.RandomHue)
FEW += (layers.RandomPerspective, layers.RandomSaturation)
SEED = tf.constant([3, 4], tf.int64)


def pictures(dtype="uint8"):
    coarse = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3))
    return np.kron(coarse, np.ones((1, 3, 3, 1))).astype(dtype)


@pytest.mark.parametrize("make", LAYERS.values(), ids=[each.__name__ for each in LAYERS])
def test_a_seed_decides_all_that_a_layer_of_keras_draws(make):
    images, layer = pictures(), make()
    state = layer.generator.state.numpy()
    seeded = augment.Seeded(layer)
    view = seeded(images, seed=SEED)
    assert view.dtype == tf.uint8 and view.shape == images.shape and np.any(view != images)
    np.testing.assert_array_equal(seeded(images, seed=SEED), view)
    np.testing.assert_array_equal(augment.Seeded(make())(images, seed=SEED), view)
    assert any(np.any(seeded(images, seed=SEED + k) != view) for k in range(1, 4))
    np.testing.assert_array_equal(layer.generator.state, state)


@pytest.mark.parametrize("cls", FEW, ids=[each.__name__ for each in FEW])
def test_graph_and_parallel_map_make_the_eager_views(cls):
    images, seeds = pictures(), [[1, 2], [3, 4], [5, 6]]
    seeded = augment.Seeded(LAYERS[cls]())
    expected = [seeded(images, seed=seed) for seed in seeds]
    assert np.any(expected[0] != expected[1])
    run = tf.function(lambda seed: seeded(tf.constant(images), training=True, seed=seed))
    for seed, view in zip(seeds, expected, strict=True):
        np.testing.assert_array_equal(run(tf.constant(seed)), view)
    other = augment.Seeded(LAYERS[cls]())
    data = tf.data.Dataset.from_tensor_slices(seeds)
    for calls in (None, 2):
        mapped = data.map(lambda seed: other(tf.constant(images), training=True, seed=seed), num_parallel_calls=calls)
        np.testing.assert_array_equal(list(mapped), expected)


def test_views_are_those_that_keras_makes_of_the_numbers_drawn():
    images, seen = pictures("float32"), []

    class Recorded(layers.RandomBrightness):
        def get_random_transformation(self, data, training=True, seed=None):
            seen.append(super().get_random_transformation(data, training=training, seed=seed))
            return seen[-1]

    view = augment.Seeded(Recorded(0.5))(images, seed=SEED)
    deltas = seen[0]["rgb_delta"].numpy()
    assert deltas.shape == (4, 1, 1, 1) and len(np.unique(deltas)) == 4
    np.testing.assert_allclose(view, np.clip(images + deltas, 0, 255), atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_dtype_is_kept_and_integers_are_rounded(dtype):
    images = pictures(dtype)
    seeded = augment.Seeded(layers.RandomContrast(0.5))
    view = seeded(images, seed=SEED)
    assert view.dtype == dtype
    exact = seeded(pictures("float32"), seed=SEED).numpy()
    np.testing.assert_allclose(
        view, np.round(exact) if dtype == "uint8" else exact, atol=0 if dtype == "uint8" else 0.1
    )


def test_one_image_is_a_batch_of_one():
    seeded = augment.Seeded(layers.RandomHue(0.5))
    np.testing.assert_array_equal(seeded(pictures()[0], seed=SEED), seeded(pictures()[:1], seed=SEED)[0])


def test_it_draws_by_itself_and_in_a_chain():
    images = pictures()
    one, other = (augment.Seeded(layers.RandomHue(0.5), seed=1) for _ in range(2))
    views = [one(images).numpy() for _ in range(2)]
    assert np.any(views[0] != views[1])
    np.testing.assert_array_equal(other(images), views[0])
    np.testing.assert_array_equal(one(images, training=False), images)
    chain = augment.Chain([augment.image.RandomFlip(), one])
    np.testing.assert_array_equal(chain(images, seed=SEED), chain(images, seed=SEED))
    restored = augment.Chain.from_config(chain.get_config())
    np.testing.assert_array_equal(restored(images, seed=SEED), chain(images, seed=SEED))


def test_replicas_draw_each_their_own():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
    images = pictures()
    with strategy.scope():
        seeded = augment.Seeded(layers.RandomHue(0.5))
    run = tf.function(lambda: strategy.run(lambda: seeded(tf.constant(images), training=True, seed=SEED)))
    one, other = strategy.experimental_local_results(run())
    assert np.any(one != other)
    np.testing.assert_array_equal(one, seeded(images, seed=SEED))


@pytest.mark.parametrize("layer", [3, layers.Dense(2), augment.image.RandomFlip(), augment.Seeded(layers.RandomFlip())])
def test_what_is_no_image_layer_of_keras_is_refused(layer):
    with pytest.raises(TypeError, match="`layer` must be an image layer of Keras.*Received: layer="):
        augment.Seeded(layer)


@pytest.mark.parametrize("cls", UNSEEDED, ids=lambda cls: cls.__name__)
def test_layers_that_draw_from_elsewhere_are_refused(cls):
    with pytest.raises(ValueError, match="draws from others too: `kc.augment.image` has its own.*Received: layer="):
        augment.Seeded(cls())


def test_layers_that_change_the_shape_are_refused():
    with pytest.raises(ValueError, match=r"must keep the shape .* \(1, 6, 6, 3\) of \(1, 12, 12, 3\)"):
        augment.Seeded(layers.RandomCrop(6, 6))(pictures()[0])


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"`Seeded` takes images .*Received: images of shape \(4, 12\)"):
        augment.Seeded(layers.RandomFlip())(tf.zeros([4, 12]))
