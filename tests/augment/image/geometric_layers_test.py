"""The geometric layers: what they do to pixels, against PIL and SciPy, and what they draw."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image

from keras_consistency.augment import image

SEED = tf.constant([5, 6], tf.int64)
MANY = np.zeros([20_000, 1, 1, 1], "uint8")
FILL = 51
MODES = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
SHAPES = [(19, 26, 3), (25, 18, 1)]
LAYERS = {
    "crop_and_pad": image.RandomCropAndPad,
    "perspective": image.RandomPerspective,
    "resized_crop": image.RandomResizedCrop,
    "rotation": image.RandomRotation,
    "shear": image.RandomShear,
    "translation": image.RandomTranslation,
    "zoom": image.RandomZoom,
}
# What a layer draws, and the same again as it is drawn for each image.
DRAWN = {
    "crop_and_pad": [(0.1, 0.23, 0.4, 0.0), (-0.25, 0.1, -0.125, 0.3), (-0.5, -0.5, -0.5, -0.5)],
    "perspective": [
        ((0.1, 0.05), (-0.07, 0.11), (-0.2, -0.13), (0.02, -0.05)),
        ((-0.1, -0.15), (0.2, 0.1), (-0.24, 0.24), (0.0, 0.0)),
        ((0.24, 0.2), (0.2, -0.24), (-0.1, -0.1), (-0.2, 0.24)),
    ],
    "resized_crop": [(0.0, 0.0, 0.5, 0.5), (0.37, 0.21, 0.62, 0.7), (0.1, 0.6, 0.9, 0.25)],
    "rotation": [12.3, -77.0, 180.0],
    "shear": [(0.31, -0.17), (-0.5, 0.0), (1.0, 0.9)],
    "translation": [(0.113, -0.207), (-0.31, 0.05), (0.9, 0.5)],
    "zoom": [0.3, -0.34, 0.69],
}
names = pytest.mark.parametrize("name", LAYERS)


def picture(shape, seed=1):
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 4, shape[0]), np.linspace(0, 5, shape[1]), indexing="ij")
    waves = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(shape[2])], -1)
    return np.clip(110 + 90 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype("uint8")


def pil_transform(pixels, method, data, interpolation):
    pil = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    fill = FILL if pixels.shape[-1] == 1 else (FILL,) * 3
    moved = pil.transform(pil.size, method, tuple(data), MODES[interpolation], fillcolor=fill)
    return np.asarray(moved).reshape(pixels.shape)


def extent(pixels, interpolation, left, top, right, bottom):
    height, width, _ = pixels.shape
    box = (left * width, top * height, right * width, bottom * height)
    return pil_transform(pixels, Image.Transform.EXTENT, box, interpolation)


def zoomed(pixels, interpolation, log_magnification):
    ends = 0.5 - 0.5 / np.exp(log_magnification), 0.5 + 0.5 / np.exp(log_magnification)
    return extent(pixels, interpolation, ends[0], ends[0], ends[1], ends[1])


def turned(pixels, interpolation, degrees):
    pil = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    fill = FILL if pixels.shape[-1] == 1 else (FILL,) * 3
    return np.asarray(pil.rotate(degrees, MODES[interpolation], fillcolor=fill)).reshape(pixels.shape)


def sheared(pixels, interpolation, x, y):
    """Two shears about the centre, composed from where they take points: columns first, then rows."""
    height, width, _ = pixels.shape
    forward = np.array([[1, -x], [0, 1]]) @ np.array([[1, 0], [-y, 1]])
    backward, centre = np.linalg.inv(forward), np.array([width / 2, height / 2])
    data = np.hstack([backward, (centre - backward @ centre)[:, None]]).ravel()
    return pil_transform(pixels, Image.Transform.AFFINE, data, interpolation)


def translated(pixels, interpolation, down, right):
    height, width, _ = pixels.shape
    return pil_transform(pixels, Image.Transform.AFFINE, (1, 0, -right * width, 0, 1, -down * height), interpolation)


def in_perspective(pixels, interpolation, *moves):
    """PIL's eight coefficients, solved for from the four corners and where they go."""
    height, width, _ = pixels.shape
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    equations, values = [], []
    for corner, move in zip(corners, moves, strict=True):
        (u, v), (x, y) = corner * [width, height], (corner + move) * [width, height]
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    data = np.linalg.solve(np.array(equations, "float64"), values)
    return pil_transform(pixels, Image.Transform.PERSPECTIVE, data, interpolation)


REFERENCES = {
    "crop_and_pad": lambda pixels, mode, top, left, bottom, right: extent(
        pixels, mode, left, top, 1 - right, 1 - bottom
    ),
    "perspective": in_perspective,
    "resized_crop": lambda pixels, mode, top, left, height, width: extent(
        pixels, mode, left, top, left + width, top + height
    ),
    "rotation": turned,
    "shear": sheared,
    "translation": translated,
    "zoom": zoomed,
}


@names
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", MODES)
def test_pixels_are_pils_within_one_level(name, shape, interpolation):
    images = np.stack([picture(shape, seed) for seed in range(3)])
    layer = LAYERS[name](fill=FILL / 255, interpolation=interpolation)
    drawn = tf.constant(DRAWN[name], tf.float32)
    expected = [
        REFERENCES[name](pixels, interpolation, *np.ravel(values) if name != "perspective" else values)
        for pixels, values in zip(images, DRAWN[name], strict=True)
    ]
    ours = layer.transform_images(tf.constant(images), drawn).numpy()
    assert np.all(ours[0] != images[0], axis=-1).mean() > 0.3, "hardly moved: the comparison says nothing"
    assert_close(ours, expected, 0 if interpolation == "nearest" else 1)
    floats = LAYERS[name](fill=FILL / 255, interpolation=interpolation, value_range=(0, 1))
    ours = 255 * floats.transform_images(tf.constant((images / 255).astype("float32")), drawn).numpy()
    assert_close(ours, expected, 0.01 if interpolation == "nearest" else 1.01)


def assert_close(ours, expected, levels):
    """PIL steps through a row in fixed point, so that a pixel on an edge may fall on its other side."""
    difference = np.abs(ours.astype("float64") - np.stack(expected).astype("float64"))
    assert np.mean(difference > levels) <= 0.012


@pytest.mark.parametrize(("down", "right"), [(0.0, 0.25), (-0.13, 0.3), (0.41, -0.07)])
def test_translation_is_scipys_away_from_the_border(down, right):
    pixels = picture((19, 26, 1)).astype("float32")
    layer = image.RandomTranslation(fill=FILL / 255)
    ours = layer.transform_images(tf.constant(pixels[None]), tf.constant([[down, right]]))[0, ..., 0].numpy()
    expected = scipy.ndimage.shift(pixels[..., 0], (down * 19, right * 26), order=1, cval=np.nan)
    known = np.isfinite(expected)
    assert known.mean() > 0.5
    np.testing.assert_allclose(ours[known], expected[known], atol=2e-3)


def test_rotation_is_scipys_away_from_the_border():
    pixels = picture((21, 21, 1)).astype("float32")
    ours = image.RandomRotation().transform_images(tf.constant(pixels[None]), tf.constant([33.0]))[0, ..., 0].numpy()
    expected = scipy.ndimage.rotate(pixels[..., 0], 33.0, reshape=False, order=1, cval=np.nan)
    known = np.isfinite(expected)
    assert known.mean() > 0.5
    np.testing.assert_allclose(ours[known], expected[known], atol=2e-3)


@names
def test_image_that_does_not_move_is_returned_to_the_bit(name):
    still = (0.0, 0.0, 1.0, 1.0) if name == "resized_crop" else np.zeros_like(DRAWN[name][0])
    drawn = np.array([DRAWN[name][0], still], "float32")
    images = np.random.default_rng(0).uniform(0, 255, [2, 7, 9, 3])
    views = LAYERS[name]().transform_images(tf.constant(images), tf.constant(drawn)).numpy()
    np.testing.assert_array_equal(views[1], images[1])
    assert np.any(views[0] != images[0])


@names
def test_default_moves_every_image_its_own_way(name):
    same = np.repeat(picture((19, 26, 3))[None], 12, axis=0)
    views = LAYERS[name](seed=1)(same).numpy()
    assert len({view.tobytes() for view in views}) == 12


@pytest.mark.parametrize("interpolation", MODES)
def test_fill_is_a_fraction_of_the_range_and_rounded_for_bytes(interpolation):
    away = tf.constant([[1.0, 1.0]])
    layer = image.RandomTranslation(fill=0.25, interpolation=interpolation)
    assert np.all(layer.transform_images(tf.fill([1, 5, 6, 3], tf.constant(9, tf.uint8)), away) == 64)
    assert np.all(layer.transform_images(tf.fill([1, 5, 6, 3], 9.0), away) == 63.75)
    signed = image.RandomTranslation(fill=0.25, interpolation=interpolation, value_range=(-1, 1))
    assert np.all(signed.transform_images(tf.zeros([1, 5, 6, 3]), away) == -0.5)


def assert_uniform(values, least, most):
    quarters = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quarters, np.linspace(least, most, 5), atol=0.015 * (most - least))


class TestDraws:
    def draw(self, name, **kwargs):
        return LAYERS[name](**kwargs).get_random_transformation(SEED, MANY).numpy()

    @pytest.mark.parametrize(
        ("name", "shape", "limit"),
        [
            ("crop_and_pad", (4,), 0.5),
            ("perspective", (4, 2), 0.25),
            ("rotation", (), 360.0),
            ("shear", (2,), 1.0),
            ("translation", (2,), 1.0),
        ],
    )
    @pytest.mark.parametrize("factor", [0.3, 1.0])
    def test_is_uniform_either_way_up_to_the_factor(self, name, shape, limit, factor):
        values = self.draw(name, factor=factor)
        assert values.shape == (len(MANY), *shape)
        values = values.reshape(len(MANY), -1) / (factor * limit)
        assert np.all(np.abs(values) <= 1 + 1e-6)
        for column in values.T:
            assert_uniform(column, -1, 1)
        correlations = np.atleast_2d(np.corrcoef(values.T)) - np.eye(values.shape[1])
        assert np.all(np.abs(correlations) < 0.03)

    @pytest.mark.parametrize("factor", [0.2, 1.0])
    def test_zoom_enlarges_as_often_as_it_shrinks(self, factor):
        logs = self.draw("zoom", factor=factor) / np.log(1 + factor)
        assert_uniform(logs, -1, 1)

    @pytest.mark.parametrize(("factor", "aspect_ratio"), [(0.92, 4 / 3), (0.3, 3.0), (1.0, 1.0)])
    def test_resized_crop_draws_parts_of_uniform_area_that_fit(self, factor, aspect_ratio):
        top, left, height, width = self.draw("resized_crop", factor=factor, aspect_ratio=aspect_ratio).T
        assert min(top.min(), left.min()) >= 0 and max((top + height).max(), (left + width).max()) <= 1 + 1e-6
        assert_uniform(height * width, 1 - factor, 1)
        logs = np.log(width / height)
        limits = np.minimum(np.log(aspect_ratio), -np.log(height * width))
        assert np.all(np.abs(logs) <= limits + 1e-5)
        if aspect_ratio > 1:
            assert_uniform((logs / limits)[limits > 0.01], -1, 1)
        free = 1 - width > 0.01
        assert_uniform((left / (1 - width))[free], 0, 1)

    def test_resized_crop_shows_the_whole_image_where_nothing_is_cut_off(self):
        np.testing.assert_array_equal(self.draw("resized_crop", factor=0.0), np.tile([[0, 0, 1, 1]], [len(MANY), 1]))

    def test_perspective_never_folds_an_image(self):
        corners = self.draw("perspective", factor=1.0) + [[0, 0], [1, 0], [1, 1], [0, 1]]
        sides = np.roll(corners, -1, axis=1) - corners
        after = np.roll(sides, -1, axis=1)
        assert np.all(sides[..., 0] * after[..., 1] - sides[..., 1] * after[..., 0] > 0)


@pytest.mark.parametrize("name", ["shear", "rotation"])
def test_area_is_kept(name):
    layer = LAYERS[name](factor=1.0)
    drawn = layer.get_random_transformation(SEED, MANY[:500])
    matrices = layer.get_matrices(drawn, tf.constant(20.0), tf.constant(30.0)).numpy()
    np.testing.assert_allclose(np.linalg.det(matrices[:, :2, :2]), 1.0, atol=1e-5)


class TestBadInput:
    @names
    @pytest.mark.parametrize("argument", ["factor", "fill"])
    @pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", None, float("nan"), (0.1, 0.2)])
    def test_fractions(self, name, argument, value):
        with pytest.raises(ValueError, match=rf"`{argument}` must be a number in \[0, 1\]. Received: {argument}="):
            LAYERS[name](**{argument: value})

    @names
    def test_interpolation(self, name):
        with pytest.raises(ValueError, match=r"`interpolation` must be one of .*Received: interpolation=cubic"):
            LAYERS[name](interpolation="cubic")

    @names
    @pytest.mark.parametrize("value", ["void", None, (0,)])
    def test_mask_fill(self, name, value):
        with pytest.raises(ValueError, match="`mask_fill` must be a number that the masks can hold. Received: mask_"):
            LAYERS[name](mask_fill=value)

    @pytest.mark.parametrize("value", [0.9, float("inf"), float("nan"), "2", None])
    def test_aspect_ratio(self, value):
        with pytest.raises(ValueError, match="`aspect_ratio` must be a number of at least 1. Received: aspect_ratio="):
            image.RandomResizedCrop(aspect_ratio=value)

    def test_base_layer_says_what_a_subclass_must_have(self):
        class Bare(image.GeometricLayer):
            """Draws, and makes no maps."""

            def get_random_transformation(self, seed, images):
                return tf.zeros([2])

        with pytest.raises(NotImplementedError, match="must implement `matrices"):
            Bare()(np.zeros([2, 8, 8, 3], "uint8"))
