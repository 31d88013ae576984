import keras
import pytest

import keras_consistency as kc
from keras_consistency.views import View, as_views


def test_views_of_one_layer_and_draw_are_one():
    layer = keras.layers.GaussianNoise(0.1, name="noise")
    assert View(layer).key == View(layer).key
    assert View("strong").key == View("strong").key
    assert hash(View(layer).key) == hash(View(layer).key)


@pytest.mark.parametrize(
    "other",
    [
        lambda layer: View(layer, draw=1),
        lambda layer: View(keras.layers.GaussianNoise(0.1, name="other")),
        lambda layer: View(layer, perturbation=kc.perturbations.VAT(radius=1.0)),
        lambda layer: View(layer, perturbation=kc.perturbations.VAT(radius=1.0), at="embedding"),
        lambda layer: View("key"),
        lambda layer: View(),
    ],
)
def test_views_of_another_layer_draw_or_perturbation_differ(other):
    layer = keras.layers.GaussianNoise(0.1, name="noise")
    assert View(layer).key != other(layer).key


def test_perturbations_that_differ_in_a_number_make_different_views():
    one, two = (View(perturbation=kc.perturbations.VAT(radius=radius)) for radius in (1.0, 2.0))
    assert one.key != two.key
    assert one.key == View(perturbation=kc.perturbations.VAT(radius=1.0)).key


def test_as_views_takes_one_or_many_of_anything():
    layer, view = keras.layers.GaussianNoise(0.1), View("a", draw=2)
    assert [each.layer for each in as_views(layer)] == [layer]
    assert as_views(view) == (view,)
    assert [each.layer for each in as_views([layer, "key", None, view])] == [layer, "key", None, "a"]
    assert [each.layer for each in as_views(None)] == [None]


@pytest.mark.parametrize("layer", [1, 0.5, lambda x: x])
def test_layer_that_is_none_is_refused(layer):
    with pytest.raises(TypeError, match="`layer` must be a Keras layer, .*Received: layer="):
        View(layer)


@pytest.mark.parametrize("draw", [-1, 0.5, None, True])
def test_draw_that_is_no_count_is_refused(draw):
    with pytest.raises(ValueError, match="`draw` must be an integer of at least 0.*Received: draw="):
        View(None, draw=draw)


@pytest.mark.parametrize("perturbation", ["fgsm", kc.perturbations.VAT, kc.targets.Soft(), lambda x: x])
def test_perturbation_that_is_none_is_refused(perturbation):
    with pytest.raises(TypeError, match="`perturbation` must be .*`kc.perturbations` .*Received: perturbation="):
        View(None, perturbation=perturbation)


@pytest.mark.parametrize(
    "arguments",
    [
        {"at": "embedding"},
        {"at": 1, "perturbation": kc.perturbations.VAT(radius=1.0)},
        {"at": "", "perturbation": None},
        {
            "at": "embedding",
            "perturbation": kc.perturbations.VAT(radius=1.0),
            "geometry": kc.geometries.RandomAffine(),
        },
    ],
)
def test_layer_to_perturb_needs_a_perturbation_and_no_geometry(arguments):
    with pytest.raises(ValueError, match="`at` must be the name of a layer of the student .*Received: at="):
        View(None, **arguments)


def test_views_perturbed_at_different_layers_differ():
    attack = kc.perturbations.VAT(radius=1.0)
    keys = [View(perturbation=attack, at=at).key for at in (None, "embedding", "other", "embedding")]
    assert len({*keys}) == 3 and keys[1] == keys[3]


def test_view_survives_serialization():
    view = View(keras.layers.GaussianNoise(0.1, name="noise"), draw=3, perturbation=kc.perturbations.VAT(radius=2.0))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(view))
    assert again.key == view.key and again.layer.stddev == 0.1
    view = View("key", perturbation=kc.perturbations.VAT(radius=2.0), at="embedding")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(view))
    assert again.key == view.key and again.at == "embedding"
