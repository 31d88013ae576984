"""The warp of bytes in whole numbers, against PIL's and against the warp of floats."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_consistency.ops import warp
from keras_consistency.ops.warp_bytes import warp_bytes

FILL = 127
SIZES = [(17, 23, 3), (28, 31, 1), (1, 9, 3), (1, 1, 1)]
RUNS = {"eager": lambda function: function, "compiled": lambda function: tf.function(function, jit_compile=True)}


def picture(shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def maps(height, width):
    """Our matrices, by what they do."""
    c = lambda value: tf.constant([value], tf.float32)  # noqa: E731
    return {
        "rotate": warp.rotation(c(13.7), height, width),
        "turn": warp.rotation(c(180.0), height, width),
        "shear": warp.shear(c(0.93), c(-0.171)),
        "translate": warp.translation(c(2.37), c(-1.61)),
        "away": warp.translation(c(20_000.0), c(0.0)),
        "zoom": warp.crop(c(1.0), c(0.5), c(width - 1.0), c(height - 0.5), height, width),
        "all": warp.rotation(c(21.1), height, width) @ warp.shear(c(0.1), c(0.07)) @ warp.translation(c(1.3), c(0.7)),
    }


def warped(image, matrix, interpolation="bilinear", run="compiled"):
    move = RUNS[run](lambda image, matrix: warp_bytes(image, matrix, tf.constant(float(FILL)), interpolation))
    return move(tf.constant(image), tf.constant(matrix)).numpy().astype(int)


@pytest.mark.parametrize("name", maps(8, 8))
@pytest.mark.parametrize("shape", SIZES)
def test_pixels_are_pils_within_a_level(name, shape):
    image, matrix = picture(shape), maps(*shape[:2])[name][0].numpy()
    pil = Image.fromarray(image[..., 0] if shape[2] == 1 else image)
    fill = FILL if shape[2] == 1 else (FILL,) * 3
    coefficients = matrix[:2].astype(float).ravel()
    moved = pil.transform(pil.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=fill)
    difference = np.abs(warped(image, matrix) - np.asarray(moved).reshape(shape))
    # Pixels on the edge: PIL steps through a row from another start.
    assert np.mean(difference > 1) <= 0.02


@pytest.mark.parametrize("name", maps(8, 8))
def test_pixels_are_those_of_the_float_warp_within_a_level(name):
    image, matrix = picture((40, 33, 3)), maps(40, 33)[name][0].numpy()
    expected = warp.warp_image(tf.constant(image), tf.constant(matrix), float(FILL), "bilinear").numpy().astype(int)
    difference = np.abs(warped(image, matrix) - expected)
    assert np.mean(difference > 1) <= 0.001 and np.mean(difference > 0) <= 0.05


@pytest.mark.parametrize("shape", SIZES)
def test_identity_is_exact(shape):
    np.testing.assert_array_equal(warped(picture(shape), np.eye(3, dtype="float32")), picture(shape))


def test_whole_shifts_are_exact():
    image = picture((9, 12, 3))
    moved = warped(image, warp.translation(tf.constant([3.0]), tf.constant([-2.0]))[0].numpy())
    np.testing.assert_array_equal(moved[2:, :-3], image[:-2, 3:])
    assert np.all(moved[:2] == FILL) and np.all(moved[:, -3:] == FILL)


def test_compiled_and_eager_agree_to_the_bit():
    image, matrix = picture((17, 23, 3)), maps(17, 23)["all"][0].numpy()
    np.testing.assert_array_equal(warped(image, matrix, run="eager"), warped(image, matrix))


def test_size_need_not_be_known_before_the_graph_runs():
    image, matrix = picture((17, 23, 3)), maps(17, 23)["all"][0]
    run = tf.function(
        lambda image: warp_bytes(image, matrix, tf.constant(float(FILL)), "bilinear"),
        input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)],
    )
    np.testing.assert_array_equal(run(tf.constant(image)), warped(image, matrix.numpy()))


def test_nearest_and_large_images_go_through_the_float_warp():
    image, matrix = picture((17, 23, 3)), maps(17, 23)["all"][0].numpy()
    expected = warp.warp_image(tf.constant(image), tf.constant(matrix), float(FILL), "nearest")
    np.testing.assert_array_equal(warped(image, matrix, "nearest", run="eager"), expected)
    # Positions beyond 31 bits: the last column shows the one before it.
    long = picture((1, 40_000, 1))
    moved = warped(long, warp.translation(tf.constant([-1.0]), tf.constant([0.0]))[0].numpy(), run="eager")
    np.testing.assert_array_equal(moved[:, 1:], long[:, :-1])
