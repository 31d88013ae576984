import sys

import imagecorruptions
import keras
import numpy as np
import pytest

import keras_consistency as kc
from keras_consistency.evaluation import corruptions

NUMBERS = np.random.default_rng(0)


def smooth(*shape):
    """Images of bytes with large and small shapes."""
    waves = np.cumsum(np.cumsum(NUMBERS.normal(size=shape), axis=1), axis=2) * 6 + 128
    return np.uint8(np.clip(waves, 0, 255))


RGB = smooth(2, 40, 33, 3)
GREY = smooth(2, 28, 28, 1)
OPTIONS = {"value_range": (0, 255), "seed": 5, "first": 7}


def direct(image, name, severity, number):
    """A call of the package itself, of the image with this number."""
    draw = int(np.random.SeedSequence([5, number]).generate_state(1)[0])
    np.random.seed(draw)
    options = {"seed": draw} if name in ("impulse_noise", "glass_blur") else {}
    return imagecorruptions.corrupt(image, severity, name, **options)


def test_the_names_are_those_of_the_package():
    assert list(corruptions.COMMON) == imagecorruptions.get_corruption_names("common")
    assert list(corruptions.NAMES) == imagecorruptions.get_corruption_names("all")


@pytest.mark.parametrize("name", corruptions.NAMES)
def test_coloured_images_are_corrupted_by_the_package(name):
    for severity in (1, 5):
        found = corruptions.corrupt(RGB.astype("float32"), name, severity, **OPTIONS)
        assert found.dtype == np.float32
        for number, (image, corrupted) in enumerate(zip(RGB, found, strict=True)):
            np.testing.assert_array_equal(corrupted, direct(image, name, severity, 7 + number))


@pytest.mark.parametrize("name", [name for name in corruptions.NAMES if name != "saturate"])  # grey stays as it is
def test_small_grey_images_are_those_of_a_larger_coloured_one(name):
    found = corruptions.corrupt(GREY.astype("float32"), name, 3, **OPTIONS)
    assert found.shape == GREY.shape
    assert np.abs(found - GREY).mean() > 0.5
    larger = np.pad(GREY[1], [(2, 2), (2, 2), (0, 0)], mode="symmetric").repeat(3, axis=-1)
    np.testing.assert_array_equal(found[1, ..., 0], direct(larger, name, 3, 8)[2:-2, 2:-2, 1])


@pytest.mark.parametrize("name", ["shot_noise", "impulse_noise", "glass_blur", "snow", "elastic_transform"])
def test_an_image_draws_by_its_number_whatever_the_batch(name):
    together = corruptions.corrupt(RGB, name, 2, **OPTIONS)
    alone = corruptions.corrupt(RGB[1:], name, 2, value_range=(0, 255), seed=5, first=8)
    np.testing.assert_array_equal(together[1:], alone)
    other = corruptions.corrupt(RGB[1:], name, 2, value_range=(0, 255), seed=6, first=8)
    assert (alone != other).any()


def test_numpys_own_generator_is_left_as_it_was():
    np.random.seed(1)
    expected = np.random.normal(size=3)
    np.random.seed(1)
    corruptions.corrupt(RGB, "gaussian_noise", 1, **OPTIONS)
    np.testing.assert_array_equal(np.random.normal(size=3), expected)


@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), (-20, 80.0)])
def test_any_range_is_that_of_the_bytes(value_range):
    low, high = value_range
    expected = corruptions.corrupt(RGB, "fog", 4, **OPTIONS)
    images = (low + RGB.astype("float64") * (high - low) / 255).astype("float32")
    found = corruptions.corrupt(images, "fog", 4, value_range=value_range, seed=5, first=7)
    np.testing.assert_allclose(found, low + expected * (high - low) / 255, atol=1e-5 * (high - low))


def model(*shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3)])


def judge(x, network=None, **options):
    options = {"noise": (), "masking": (), "attacks": (), "verbose": 0, **options}
    network = model(*x.shape[1:]) if network is None else network
    return kc.evaluation.robustness(network, (x, np.arange(len(x)) % 3), **options)


def test_records_are_those_of_the_corrupted_images():
    images, labels = smooth(9, 32, 32, 1), np.arange(9) % 3
    network = model(32, 32, 1)
    records = judge(images, network, corruptions=["contrast", "shot_noise"], severities=(2, 4), seed=3, batch_size=4)
    clean = network.predict(images, verbose=0).argmax(axis=1)
    rows = [(name, level) for name in ("contrast", "shot_noise") for level in (2.0, 4.0)]
    assert [(row["condition"], row["level"]) for row in records] == [("clean", None), *rows]
    for row in records[1:]:
        corrupted = corruptions.corrupt(
            images, row["condition"], int(row["level"]), value_range=(0, 255), seed=3, first=0
        )
        found = network.predict(corrupted, verbose=0).argmax(axis=1)
        assert row["accuracy"] == pytest.approx((found == labels).mean())
        assert row["consistency"] == pytest.approx((found == clean).mean())


def test_common_stands_for_all_fifteen():
    records = judge(smooth(2, 32, 32, 3), corruptions="common", severities=[5])
    assert [row["condition"] for row in records[1:]] == list(corruptions.COMMON)
    assert all(row["level"] == 5.0 and row["examples"] == 2 for row in records[1:])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"corruptions": ["fog", "snowy"]}, ValueError, "`corruptions` must be 'common' or names .* mean 'snow'?"),
        ({"corruptions": "blur"}, ValueError, "`corruptions` must be 'common' or names"),
        ({"corruptions": 3}, TypeError, "`corruptions` must be 'common' or a list of names"),
        ({"corruptions": "fog", "severities": (1, 6)}, ValueError, r"`severities` must be a list out of \[1, 2, 3"),
        ({"corruptions": "fog", "severities": (0,)}, ValueError, "`severities`"),
        ({"corruptions": "fog", "severities": (1.5,)}, ValueError, "`severities`"),
        ({"corruptions": "fog", "severities": 3}, TypeError, "`severities` must be a list"),
        ({"corruptions": "fog", "severities": ()}, ValueError, "`severities` must be a list"),
        ({"corruptions": ["fog", "fog"]}, ValueError, "Received: 'fog' at level 1.0 more than once"),
        ({"corruptions": "fog", "value_range": None}, ValueError, "`value_range` must be that of the images"),
    ],
)
def test_other_corruptions_are_refused(options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        judge(RGB, **options)
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 6), (4, 32, 32), (4, 32, 32, 2)])
def test_inputs_that_are_no_images_are_refused(shape):
    with pytest.raises(ValueError, match="`corruptions` are those of images.*leave them out") as caught:
        judge(NUMBERS.uniform(0, 255, size=shape).astype("float32"), corruptions="fog")
    assert "Received: inputs of shape" in str(caught.value)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(
        ImportError, match=r"`corruptions` needs imagecorruptions-imaug .*keras-consistency\[robustness\]"
    ):
        judge(RGB, corruptions="fog")
