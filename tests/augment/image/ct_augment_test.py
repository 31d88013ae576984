"""CTAugment's operations against PIL, what it draws, and how its rates move."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.augment.image import CTAugment
from tests.augment.image.pil_operations import GREY, assert_operation_is_pils, chosen, picture

SEED = tf.constant([5, 6], tf.int64)
NAMES = list(CTAugment.OPERATIONS)


def either_way(s, sign):
    return 1 + s if sign > 0 else 1 - 0.9 * s


# What an operation of strength s, one way or the other, does, in the units of PIL.
AMOUNTS = {
    **{name: lambda s, sign: s for name in ("autocontrast", "blur", "equalize", "identity", "invert", "smooth")},
    **{name: either_way for name in ("brightness", "color", "contrast", "sharpness")},
    **{name: lambda s, sign: sign * 0.3 * s for name in ("shear_x", "shear_y", "translate_x", "translate_y")},
    "posterize": lambda s, sign: 8 - 7 * s,
    "rotate": lambda s, sign: sign * 45 * s,
    "solarize": lambda s, sign: 256 - 256 * s,
    "zoom": lambda s, sign: 0.5 * s,
}


def black(count=10_000):
    return np.zeros([count, 1, 1, 1], "uint8")


def draw(layer, count=10_000, seed=SEED):
    return {key: value.numpy() for key, value in layer.get_random_transformation(seed, black(count)).items()}


def test_every_operation_is_tested():
    assert set(NAMES) == {*AMOUNTS, "cutout"}


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operation_is_pils_within_one_level(name, channels):
    more = {"places": tf.zeros([1, 1, 2])}
    assert_operation_is_pils(
        CTAugment, name, AMOUNTS[name], channels=channels, strengths=(0.2, 0.5, 0.77, 1.0), more=more
    )


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.31, 0.72), (0.999, 0.5)])
def test_cutout_covers_a_square_around_its_place(place):
    image, strength = picture(19, 26), 0.8
    transformation = chosen(CTAugment, ("cutout", strength, 1.0)) | {"places": tf.constant([[place]])}
    ours = CTAugment().transform_images(tf.constant(image[None]), transformation)[0]
    side, expected = round(0.5 * strength * 19), image.copy()
    top, left = int(place[0] * 19) - side // 2, int(place[1] * 26) - side // 2
    expected[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = GREY
    np.testing.assert_array_equal(ours, expected)


class TestDraws:
    def test_at_first_everything_is_uniform(self):
        drawn = draw(CTAugment(bins=5))
        assert drawn["operations"].shape == (10_000, 2) and drawn["places"].shape == (10_000, 2, 2)
        assert scipy.stats.chisquare(np.bincount(drawn["operations"][:, 1])).pvalue > 1e-3
        assert scipy.stats.chisquare(np.bincount(drawn["bins"][:, 0])).pvalue > 1e-3
        for values in (drawn["strengths"][:, 0], *drawn["places"][:, 0].T):
            assert scipy.stats.kstest(values, scipy.stats.uniform(0, 1).cdf).pvalue > 1e-3

    def test_strengths_lie_in_their_bin(self):
        drawn = draw(CTAugment(bins=4, magnitude=0.5))
        two_way = np.isin(drawn["operations"], [NAMES.index(name) for name in ("rotate", "color")])
        one_way = np.isin(drawn["operations"], [NAMES.index(name) for name in ("zoom", "invert")])
        levels = np.where(two_way, (1 + drawn["signs"] * drawn["strengths"] / 0.5) / 2, drawn["strengths"] / 0.5)
        for some in (two_way, one_way):
            np.testing.assert_array_equal(np.floor(levels[some] * 4 - 1e-6), drawn["bins"][some])
            assert set(drawn["bins"][some]) == {0, 1, 2, 3}

    def test_bins_are_drawn_in_proportion_to_rates_above_the_threshold(self):
        layer = CTAugment(bins=5, threshold=0.8, decay=0.9)
        # 0.1 is added, and of 0.8, 0.9, 1.0 / 0.7, 0.5 only the first three are at least 0.8 of the highest.
        layer.rates.assign(np.tile([0.7, 0.8, 0.9, 0.6, 0.4], [len(NAMES), 1]))
        bins = np.bincount(draw(layer)["bins"].ravel(), minlength=5)
        assert np.all(bins[3:] == 0)
        assert scipy.stats.chisquare(bins[:3], 20_000 * np.array([0.8, 0.9, 1.0]) / 2.7).pvalue > 1e-3

    def test_bins_of_an_operation_are_drawn_by_its_own_rates(self):
        layer = CTAugment(bins=3)
        rates = np.ones([len(NAMES), 3])
        rates[NAMES.index("invert"), 1:] = 0.1
        layer.rates.assign(rates)
        drawn = draw(layer)
        inverted = drawn["operations"] == NAMES.index("invert")
        assert set(drawn["bins"][inverted]) == {0} and set(drawn["bins"][~inverted]) == {0, 1, 2}

    def test_rates_that_are_all_low_leave_the_highest(self):
        layer = CTAugment(bins=3)
        layer.rates.assign(np.tile([0.0, 0.1, 0.0], [len(NAMES), 1]))
        assert set(draw(layer)["bins"].ravel()) == {1}

    def test_probes_do_not_look_at_the_rates(self):
        layer = CTAugment(bins=4)
        layer.rates.assign(np.tile([1.0, 0.0, 0.0, 0.0], [len(NAMES), 1]))
        views, drawn = layer.probe(black(), seed=SEED)
        assert views.shape == (10_000, 1, 1, 1) and set(drawn) == {"operations", "bins"}
        assert scipy.stats.chisquare(np.bincount(drawn["bins"].numpy().ravel(), minlength=4)).pvalue > 1e-3

    def test_probes_are_views_of_what_they_say(self):
        layer, images = CTAugment(bins=7), np.stack([picture()] * 6)
        views, drawn = layer.probe(images, seed=SEED)
        again = layer._draw_from(tf.ones_like(layer.rates), SEED, images)
        np.testing.assert_array_equal(drawn["bins"], again["bins"])
        np.testing.assert_array_equal(views, layer.transform_images(tf.constant(images), again))
        np.testing.assert_array_equal(views, layer(images, seed=SEED))  # with all rates at 1
        assert np.any(CTAugment(seed=1).probe(images)[0] != CTAugment(seed=2).probe(images)[0])


def updated(rates, drawn, matches, decay):
    """The rates by their definition, one after the other, with the mean of those that move the same rate."""
    rates = rates.astype("float64")
    cells = {}
    for operations, bins, match in zip(drawn["operations"], drawn["bins"], matches, strict=True):
        for cell in zip(operations, bins, strict=True):
            cells.setdefault(cell, []).append(match)
    for cell, found in cells.items():
        for _ in found:
            rates[cell] = decay * rates[cell] + (1 - decay) * np.mean(found)
    return rates


def moved(count=40, bins=3, seed=0):
    """What was drawn, and how well it was read."""
    rng = np.random.default_rng(seed)
    drawn = {"operations": rng.integers(0, len(NAMES), [count, 2]), "bins": rng.integers(0, bins, [count, 2])}
    return {key: value.astype("int32") for key, value in drawn.items()}, rng.uniform(size=count).astype("float32")


class TestUpdate:
    def test_rates_follow_their_definition(self):
        layer, (drawn, matches) = CTAugment(bins=3, decay=0.7), moved()
        expected = layer.rates.numpy()
        for seed in range(3):
            drawn, matches = moved(seed=seed)
            layer.update(drawn, matches)
            expected = updated(expected, drawn, matches, 0.7)
            np.testing.assert_allclose(layer.rates, expected, rtol=1e-5)
        assert expected.min() < 0.6

    def test_replicas_move_the_rates_as_one_does(self):
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
        drawn, matches = moved()
        with strategy.scope():
            layer = CTAugment(bins=3, decay=0.7)

        def half(value):
            return strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(np.split(value, 2)[context.replica_id_in_sync_group])
            )

        strategy.run(
            tf.function(layer.update), args=({key: half(value) for key, value in drawn.items()}, half(matches))
        )
        copies = strategy.experimental_local_results(layer.rates.value)
        assert len(copies) == 2
        for rates in copies:
            np.testing.assert_allclose(rates, updated(np.ones([len(NAMES), 3]), drawn, matches, 0.7), rtol=1e-5)

    def test_input_pipeline_follows_the_rates(self):
        layer = CTAugment(depth=1, bins=2, threshold=1.0)
        data = tf.data.Dataset.from_tensors(np.zeros([64, 4, 4, 1], "uint8")).repeat()
        draws = data.map(lambda images: layer.get_random_transformation(SEED, images)["bins"], num_parallel_calls=2)
        numbers = iter(draws)
        assert set(next(numbers).numpy().ravel()) == {0, 1}
        layer.rates.assign(np.tile([0.5, 1.0], [len(NAMES), 1]))
        later = [set(next(numbers).numpy().ravel()) for _ in range(10)]
        assert later[-1] == {1}

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    def test_rates_are_saved(self, tmp_path):
        layer = CTAugment(bins=3, seed=1, name="views")
        layer.update(*moved())
        model = keras.Sequential([keras.Input([4, 4, 1], dtype="uint8"), layer])
        model.save(tmp_path / "model.keras")
        restored = keras.models.load_model(tmp_path / "model.keras").get_layer("views")
        np.testing.assert_array_equal(restored.rates, layer.rates)
        assert layer.rates.numpy().min() < 1 and not layer.trainable_variables


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
@pytest.mark.parametrize("argument", ["depth", "bins"])
def test_numbers_are_checked(argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}` must be an integer, 1 or more. Received: {argument}="):
        CTAugment(**{argument: value})


def test_decay_lies_below_one():
    with pytest.raises(ValueError, match="`decay` must lie below 1.* Received: decay=1"):
        CTAugment(decay=1)


def test_probe_checks_its_images():
    with pytest.raises(ValueError, match=r"`probe` takes a batch of images. Received: images of shape \(4, 4, 1\)"):
        CTAugment().probe(np.zeros([4, 4, 1], "uint8"))
    with pytest.raises(TypeError, match="`CTAugment` takes uint8 or float images"):
        CTAugment().probe(np.zeros([2, 4, 4, 1], "int32"))
