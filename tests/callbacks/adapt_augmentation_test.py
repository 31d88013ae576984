"""The callback against its definition with a layer that records, and CTAugment learning what a model cannot read."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.callbacks import AdaptAugmentation

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Recorder:
    """Transforms nothing, and keeps what it was shown and told."""

    def __init__(self):
        self.images, self.matches = [], []

    def probe(self, images, seed):
        tf.py_function(lambda shown: self.images.append(shown.numpy()), [images], [])
        return images, {"seed": seed}

    def update(self, drawn, matches):
        tf.py_function(lambda told: self.matches.append(told.numpy()), [matches], [])


def examples(count=20, seed=0):
    """Dark images of class 0 and bright ones of class 1: uint8 `(count, 6, 6, 1)`."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    return np.clip(60 + 130 * y[:, None, None, None] + rng.normal(0, 10, [count, 6, 6, 1]), 0, 255).astype("uint8"), y


def reader(*, certain=6.0):
    """A network that tells dark from bright, and nothing else: `certain` is the scale of its logits."""
    network = keras.Sequential(
        [keras.Input([6, 6, 1], dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    )
    network.add(keras.layers.Dense(2))
    slope = np.full([36, 1], certain / 36, "float32")
    network.set_weights([np.hstack([-slope, slope]), np.array([certain / 2, -certain / 2], "float32")])
    network.compile(keras.optimizers.SGD(0.0), loss=LOSS)
    return network


def fit(model, callback, *, steps=5):
    x, y = examples()
    batches = tf.data.Dataset.from_tensors((x, y)).repeat(steps)
    model.fit(batches, verbose=0, shuffle=False, callbacks=[callback])


def test_matches_are_those_of_the_definition():
    (x, y), layer, model = examples(), Recorder(), reader(certain=2.0)
    fit(model, AdaptAugmentation(layer, (x, y), batch_size=7))
    assert len(layer.images) == len(layer.matches) == 5
    labels = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    for images, matches in zip(layer.images, layer.matches, strict=True):
        assert images.shape == (7, 6, 6, 1)
        logits = model.predict_on_batch(images).astype("float64")
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        truth = np.eye(2)[[labels[image.tobytes()] for image in images]]
        np.testing.assert_allclose(matches, 1 - np.abs(p - truth).sum(-1) / 2, rtol=1e-5)
        assert 0.6 < matches.min() < matches.max() < 0.95
    assert len({image.tobytes() for batch in layer.images for image in batch}) > 12


def test_labels_may_be_probabilities():
    (x, y), layer, numbers = examples(), Recorder(), Recorder()
    soft = AdaptAugmentation(layer, (x, np.eye(2)[y]), batch_size=7)
    fit(reader(), soft)
    fit(reader(), AdaptAugmentation(numbers, (x, y), batch_size=7))
    np.testing.assert_array_equal(layer.matches, numbers.matches)


@pytest.mark.parametrize(("every", "expected"), [(1, 10), (2, 6), (4, 4), (100, 2)])
def test_it_probes_every_so_many_batches_of_an_epoch_and_training(every, expected):
    layer = Recorder()
    callback = AdaptAugmentation(layer, examples(), batch_size=2, every=every)
    model = reader()
    fit(model, callback)
    fit(model, callback)
    assert len(layer.images) == expected


def test_draws_depend_on_the_seed_and_the_steps_done():
    runs = []
    for seed, steps in ((0, (5,)), (0, (2, 3)), (1, (5,))):
        layer, model = Recorder(), reader()
        for part in steps:
            fit(model, AdaptAugmentation(layer, examples(), batch_size=4, seed=seed), steps=part)
        runs.append(np.stack(layer.images))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.any(runs[0] != runs[2])
    assert np.any(runs[0][0] != runs[0][1])


def test_training_goes_as_it_does_without():
    (x, y), weights = examples(), []
    for callbacks in ([], [AdaptAugmentation(kc.augment.image.CTAugment(), (x, y))]):
        model = reader(certain=1.0)
        model.compile(keras.optimizers.SGD(0.1), loss=LOSS)
        model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
        weights.append(np.concatenate([value.ravel() for value in model.get_weights()]))
    np.testing.assert_array_equal(*weights)


def rates_after_training(layer, model):
    fit(model, AdaptAugmentation(layer, examples(), batch_size=64), steps=60)
    return dict(zip(layer.OPERATIONS, layer.rates.numpy(), strict=True))


def test_layer_learns_what_the_model_cannot_read():
    rates = rates_after_training(kc.augment.image.CTAugment(bins=4, decay=0.9), reader(certain=40.0))
    # Half inverted, images are grey; wholly inverted, they are of the other class. Motions leave them as bright.
    assert rates["invert"][0] > 0.9 and rates["invert"][3] < 0.5
    for name in ("identity", "rotate", "translate_x", "shear_y", "zoom"):
        assert rates[name].min() > 0.75 and rates[name].mean() > rates["invert"].mean() + 0.1


def test_recipe_that_holds_the_layer_learns_with_it():
    x, y = examples()
    strong = kc.augment.image.CTAugment(bins=3, decay=0.9)
    model = kc.recipes.fixmatch(reader(certain=40.0), weak=keras.layers.Identity(), strong=strong)
    model.compile(keras.optimizers.SGD(0.0), loss=LOSS)
    batches = kc.data.pair((x, y), x, batch_size=4, ratio=2, steps=20)
    model.fit(batches, verbose=0, shuffle=False, callbacks=[AdaptAugmentation(strong, (x, y))])
    rates = dict(zip(strong.OPERATIONS, strong.rates.numpy(), strict=True))
    assert rates["invert"][2] < 0.7 < 0.75 < rates["rotate"].min()
    assert any(variable is strong.rates for variable in model.non_trainable_variables)


def test_replicas_have_the_rates_of_one():
    found = []
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        strategy = tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
        with strategy.scope():
            layer, model = kc.augment.image.CTAugment(bins=3, decay=0.9), reader(certain=40.0)
        fit(model, AdaptAugmentation(layer, examples(), batch_size=16), steps=8)
        copies = [each.numpy() for each in strategy.experimental_local_results(layer.rates.value)]
        assert len(copies) == len(devices)
        found += copies
    assert found[0].min() < 1
    for rates in found[1:]:
        np.testing.assert_allclose(rates, found[0], rtol=1e-6)


class TestBadInput:
    def make(self, **kwargs):
        options = {"layer": Recorder(), "labeled": examples(), **kwargs}
        return AdaptAugmentation(options.pop("layer"), options.pop("labeled"), **options)

    @pytest.mark.parametrize("layer", [None, keras.layers.Identity(), kc.augment.image.RandAugment()])
    def test_layer(self, layer):
        with pytest.raises(TypeError, match="`layer` must have the methods `probe` and `update`.*Received: layer="):
            self.make(layer=layer)

    def test_data(self):
        with pytest.raises(TypeError, match=r"`labeled` must be a tuple `\(x, y\)` of arrays. Received: labeled="):
            self.make(labeled=tf.data.Dataset.from_tensors(examples()))
        with pytest.raises(ValueError, match="`labeled` must have two parts"):
            self.make(labeled=(examples()[0],))
        with pytest.raises(ValueError, match="`labeled` must hold at least one example"):
            self.make(labeled=(np.zeros([0, 6, 6, 1], "uint8"), np.zeros([0], int)))

    @pytest.mark.parametrize("argument", ["batch_size", "every"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, "1", None, True])
    def test_numbers(self, argument, value):
        with pytest.raises(ValueError, match=f"`{argument}` must be an integer of at least 1. Received: {argument}="):
            self.make(**{argument: value})

    @pytest.mark.parametrize("seed", [1.5, None, "0", True])
    def test_seed(self, seed):
        with pytest.raises(TypeError, match="`seed` must be an integer. Received: seed="):
            self.make(seed=seed)

    def test_model_that_returns_no_logits(self):
        inputs = keras.Input([6, 6, 1])
        outputs = {"a": keras.layers.Flatten()(inputs), "b": keras.layers.Flatten()(inputs)}
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.0), loss={"a": LOSS, "b": None})
        with pytest.raises(ValueError, match=r"a model that returns logits \(images, classes\).*Received: outputs"):
            x, y = examples()
            model.fit(x, y, verbose=0, callbacks=[self.make()])
