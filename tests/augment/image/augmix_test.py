"""AugMix against PIL and NumPy, and what it draws."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.augment.image import AugMix
from tests.augment.image.pil_operations import PIL_OPERATIONS, affine, assert_operation_is_pils, picture, to_pil

SEED = tf.constant([5, 6], tf.int64)
# What an operation of strength s, one way or the other, does, in the units of PIL.
AMOUNTS = {
    "autocontrast": lambda s, sign: 1,
    "equalize": lambda s, sign: 1,
    "posterize": lambda s, sign: 4 - 4 * s,
    "rotate": lambda s, sign: sign * 30 * s,
    "solarize": lambda s, sign: 256 - 256 * s,
    "shear_x": lambda s, sign: sign * 0.3 * s,
    "shear_y": lambda s, sign: sign * 0.3 * s,
    "translate_x": lambda s, sign: sign * s / 3,
    "translate_y": lambda s, sign: sign * s / 3,
}
COLORS = ("autocontrast", "equalize", "posterize", "solarize")


def motion(name, amount, height, width):
    """The map from a point of the output to one of the input, from its definition."""
    if name == "rotate":
        angle, x, y = math.radians(amount), width / 2, height / 2
        cos, sin = math.cos(angle), math.sin(angle)
        centre, back = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]), np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
        return centre @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ back
    matrix = np.eye(3)
    row, column = {"shear_x": (0, 1), "shear_y": (1, 0), "translate_x": (0, 2), "translate_y": (1, 2)}[name]
    matrix[row, column] = amount * {"translate_x": width, "translate_y": height}.get(name, 1)
    return matrix


def version(image, slots):
    """One chain by PIL: its colours in their order, then its motions at once."""
    pil, matrix = to_pil(image), np.eye(3)
    for name, strength, sign in slots:
        if strength > 0 and name in COLORS:
            pil = PIL_OPERATIONS[name](pil, AMOUNTS[name](strength, sign))
        elif strength > 0:
            matrix = matrix @ motion(name, AMOUNTS[name](strength, sign), *image.shape[:2])
    pil = pil if np.all(matrix == np.eye(3)) else affine(pil, *matrix[:2].ravel())
    return np.asarray(pil, float).reshape(image.shape)


def mixture(image, drawn, width, number):
    names = [list(AugMix.OPERATIONS)[k] for k in drawn["operations"][number]]
    slots = list(zip(names, drawn["strengths"][number], drawn["signs"][number], strict=True))
    depth = len(slots) // width
    versions = [version(image, slots[k * depth : (k + 1) * depth]) for k in range(width)]
    mixed = sum(weight * each for weight, each in zip(drawn["weights"][number], versions, strict=True))
    share = drawn["shares"][number]
    return share * image + (1 - share) * mixed


def draw(layer, count=10_000):
    drawn = layer.get_random_transformation(SEED, np.zeros([count, 1, 1, 1], "uint8"))
    return {key: value.numpy() for key, value in drawn.items()}


def test_operations_are_none_of_the_corruption_benchmarks():
    assert set(AugMix.OPERATIONS) == set(AMOUNTS)
    assert not {"brightness", "contrast", "color", "sharpness", "blur", "cutout", "zoom"} & set(AugMix.OPERATIONS)


@pytest.mark.parametrize("name", AMOUNTS)
def test_operation_is_pils_within_one_level(name):
    # One chain, and nothing of the image itself.
    more = {"weights": tf.ones([1, 1]), "shares": tf.zeros([1])}
    assert_operation_is_pils(AugMix, name, AMOUNTS[name], channels=3, strengths=(0.2, 0.5, 1.0), more=more)


@pytest.mark.parametrize(("width", "depth", "severity", "channels"), [(3, 3, 1.0, 3), (2, 1, 0.3, 1)])
def test_mixtures_are_those_of_pils_versions(width, depth, severity, channels):
    layer = AugMix(width=width, depth=depth, severity=severity)
    images = np.stack([picture(channels=channels), picture(channels=channels)[::-1, ::-1]] * 6)
    ours = layer(images, seed=SEED).numpy().astype(float)
    drawn = {key: value.numpy() for key, value in layer.get_random_transformation(SEED, images).items()}
    for number, image in enumerate(images):
        difference = np.abs(ours[number] - mixture(image, drawn, width, number))
        # A level of each version, and half a one of the rounding; pixels on the edge of a warp apart.
        assert np.mean(difference > 1.51) <= 0.01
        assert np.mean(difference) < 0.8
    assert np.mean(ours != images) > 0.5


class TestDraws:
    def test_chains_have_one_to_depth_operations_evenly(self):
        drawn = draw(AugMix(width=2, depth=3))
        lengths = np.sum(drawn["strengths"].reshape(-1, 2, 3) > 0, axis=-1)
        for chain in lengths.T:
            assert scipy.stats.chisquare(np.bincount(chain, minlength=4)[1:]).pvalue > 1e-3
        assert abs(np.corrcoef(lengths.T)[0, 1]) < 0.04
        assert np.all(draw(AugMix(depth=1), 100)["strengths"] > 0)

    def test_operations_and_strengths_are_uniform(self):
        drawn = draw(AugMix(severity=0.4, width=1, depth=1))
        assert scipy.stats.chisquare(np.bincount(drawn["operations"][:, 0], minlength=9)).pvalue > 1e-3
        assert scipy.stats.kstest(drawn["strengths"][:, 0], scipy.stats.uniform(0, 0.4).cdf).pvalue > 1e-3
        assert abs(drawn["signs"].mean()) < 0.03

    @pytest.mark.parametrize("alpha", [1.0, 0.3, 4])
    def test_weights_are_dirichlet_and_shares_beta(self, alpha):
        drawn = draw(AugMix(alpha=alpha))
        assert drawn["weights"].shape == (10_000, 3) and drawn["shares"].shape == (10_000,)
        np.testing.assert_allclose(drawn["weights"].sum(axis=1), 1.0, rtol=1e-6)
        for weights in drawn["weights"].T:
            assert scipy.stats.kstest(weights, scipy.stats.beta(alpha, 2 * alpha).cdf).pvalue > 1e-3
        assert scipy.stats.kstest(drawn["shares"], scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3
        correlation = np.corrcoef(np.column_stack([drawn["weights"], drawn["shares"]]).T)
        np.testing.assert_allclose(correlation[:3, :3], 1.5 * np.eye(3) - 0.5, atol=0.05)
        np.testing.assert_allclose(correlation[3, :3], 0.0, atol=0.05)


@pytest.mark.parametrize("key", ["segmentation_masks", "bounding_boxes"])
def test_masks_and_boxes_are_refused(key):
    beside = {
        "segmentation_masks": np.zeros([2, 8, 8], "uint8"),
        "bounding_boxes": {"boxes": np.zeros([2, 1, 4], "float32"), "labels": np.zeros([2, 1], "int32")},
    }
    with pytest.raises(ValueError, match=f"no one place in the mixture.*Received: a dictionary with the key .{key}"):
        AugMix()({"images": np.zeros([2, 8, 8, 3], "uint8"), key: beside[key]})


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
@pytest.mark.parametrize("argument", ["width", "depth"])
def test_numbers_are_checked(argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}` must be an integer, 1 or more. Received: {argument}="):
        AugMix(**{argument: value})


@pytest.mark.parametrize("alpha", [0, -1.0, float("inf"), float("nan"), "1", None, True])
def test_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be a number in \(0, inf\). Received: alpha="):
        AugMix(alpha=alpha)
