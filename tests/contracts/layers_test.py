"""Every image layer gives the same view eagerly, in tf.data, inside a training step, and under XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.augment.image import color_layer

image = kc.augment.image
# In colour, and of more pixels than levels: some layers leave other images alone.
IMAGES = np.random.default_rng(0).integers(0, 256, [6, 17, 19, 3]).astype("float32")
SEED = tf.constant([3, 4])

LAYERS = {
    kc.augment.Chain: lambda seed: kc.augment.Chain([image.RandomShift(), image.Cutout()], seed=seed),
    kc.augment.Perturbed: lambda seed: kc.augment.Perturbed(kc.perturbations.GaussianNoise(stddev=9.0), seed=seed),
    image.AugMix: lambda seed: image.AugMix(seed=seed),
    image.AutoContrast: lambda seed: image.AutoContrast(probability=0.5, seed=seed),
    image.CTAugment: lambda seed: image.CTAugment(seed=seed),
    image.Equalization: lambda seed: image.Equalization(probability=0.5, seed=seed),
    image.GaussianNoise: lambda seed: image.GaussianNoise(seed=seed),
    image.PatchMasking: lambda seed: image.PatchMasking(seed=seed),
    image.RandomBrightness: lambda seed: image.RandomBrightness(seed=seed),
    image.RandomColorJitter: lambda seed: image.RandomColorJitter(seed=seed),
    image.RandomContrast: lambda seed: image.RandomContrast(seed=seed),
    image.RandomErasing: lambda seed: image.RandomErasing(seed=seed),
    image.RandomGaussianBlur: lambda seed: image.RandomGaussianBlur(seed=seed),
    image.RandomGrayscale: lambda seed: image.RandomGrayscale(seed=seed),
    image.RandomHue: lambda seed: image.RandomHue(seed=seed),
    image.RandomInvert: lambda seed: image.RandomInvert(seed=seed),
    image.RandomPosterization: lambda seed: image.RandomPosterization(seed=seed),
    image.RandomSaturation: lambda seed: image.RandomSaturation(seed=seed),
    image.RandomSharpness: lambda seed: image.RandomSharpness(seed=seed),
    image.Solarization: lambda seed: image.Solarization(seed=seed),
    image.Cutout: lambda seed: image.Cutout(seed=seed),
    image.RandAugment: lambda seed: image.RandAugment(seed=seed),
    image.RandomCropAndPad: lambda seed: image.RandomCropAndPad(seed=seed),
    image.RandomFlip: lambda seed: image.RandomFlip(seed=seed),
    image.RandomPerspective: lambda seed: image.RandomPerspective(seed=seed),
    image.RandomResizedCrop: lambda seed: image.RandomResizedCrop(seed=seed),
    image.RandomRotation: lambda seed: image.RandomRotation(seed=seed),
    image.RandomShear: lambda seed: image.RandomShear(seed=seed),
    image.RandomShift: lambda seed: image.RandomShift(seed=seed),
    image.RandomTranslation: lambda seed: image.RandomTranslation(seed=seed),
    image.RandomZoom: lambda seed: image.RandomZoom(seed=seed),
    image.TrivialAugment: lambda seed: image.TrivialAugment(seed=seed),
    image.weak: lambda seed: image.weak(flip=True, seed=seed),
    image.strong: lambda seed: image.strong(flip=True, seed=seed),
}
BASES = {
    kc.augment.Seeded,
    image.ColorLayer,
    color_layer.EnhancementLayer,
    image.GeometricLayer,
    image.ImageLayer,
    image.Policy,
}
layers = pytest.mark.parametrize("make", LAYERS.values(), ids=[each.__name__ for each in LAYERS])


class Recorder(keras.Model):
    """A model whose training step shows what its view layer made."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.seen = self.add_weight(shape=IMAGES.shape, trainable=False)

    def train_step(self, data):
        self.seen.assign(self.layer(data, training=True))
        return {"done": tf.constant(1.0)}


def in_training_step(layer):
    """The layer's first two views in `fit`."""
    model = Recorder(layer)
    model.compile("sgd")
    views = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: views.append(model.seen.numpy()))
    model.fit(tf.data.Dataset.from_tensors(IMAGES).repeat(2), verbose=0, shuffle=False, callbacks=[record])
    return views


def layers_below(base):
    for cls in base.__subclasses__():
        if cls.__module__.startswith("keras_consistency."):
            yield cls
        yield from layers_below(cls)


def test_every_layer_has_a_row():
    found = {each for each in layers_below(kc.augment.RandomLayer) if not issubclass(each, kc.augment.text.TextLayer)}
    assert image.Cutout in found
    assert found - BASES == {each for each in LAYERS if isinstance(each, type)}


@layers
def test_seed_of_a_call_gives_one_view_eagerly_in_tf_data_and_under_xla(make):
    layer = make(1)
    view = layer(IMAGES, training=True, seed=SEED).numpy()
    assert np.any(view != IMAGES), "nothing was changed: the comparison says nothing"
    assert view.shape == IMAGES.shape and view.dtype == IMAGES.dtype
    other = make(2)
    dataset = tf.data.Dataset.from_tensors(IMAGES).repeat(3)
    for mapped in dataset.map(lambda batch: other(batch, training=True, seed=SEED), num_parallel_calls=2):
        np.testing.assert_allclose(mapped, view, atol=1e-3)
    if make is LAYERS[image.strong]:
        return  # Its layers are compiled one by one above, and itself in `jit_test`.
    compiled = tf.function(lambda: layer(tf.constant(IMAGES), training=True, seed=SEED), jit_compile=True)
    np.testing.assert_allclose(compiled(), view, atol=1e-3)


@layers
def test_generator_gives_the_same_views_eagerly_in_tf_data_and_in_a_training_step(make):
    layer = make(5)
    views = [layer(IMAGES, training=True).numpy() for _ in range(2)]
    assert np.any(views[0] != views[1])
    layer = make(5)
    mapped = list(tf.data.Dataset.from_tensors(IMAGES).repeat(2).map(lambda batch: layer(batch, training=True)))
    np.testing.assert_allclose(mapped, views, atol=1e-3)
    np.testing.assert_allclose(in_training_step(make(5)), views, atol=1e-3)


@layers
def test_inference_and_copy(make):
    layer = make(5)
    np.testing.assert_array_equal(layer(IMAGES, training=False), IMAGES)
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(copy(IMAGES, training=True), layer(IMAGES, training=True))
