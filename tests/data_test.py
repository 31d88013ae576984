"""`pair` and `with_views`: what the batches hold, that they repeat, and that bad input is told early."""

import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency import data
from keras_consistency.augment import text

X = np.arange(10, dtype="float32")[:, None] * np.ones((1, 3), "float32")
Y = np.arange(10)
U = 100 + np.arange(24, dtype="float32")[:, None] * np.ones((1, 3), "float32")


def _run(script):
    """Standard output of a Python script in a process of its own, read as JSON."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def _unlabeled_rows(dataset):
    return [int(value) for inputs, *_ in dataset for value in inputs["unlabeled"][:, 0].numpy() - 100]


def _same(a, b):
    a, b = list(a.as_numpy_iterator()), list(b.as_numpy_iterator())
    assert len(a) == len(b) > 0
    for left, right in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_array_equal(left, right)


def _equal(a, b):
    return all(np.array_equal(p, q) for p, q in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True))


def _list(dataset):
    return list(dataset.as_numpy_iterator())


def test_batches_have_the_contracts_structure_and_static_shapes():
    dataset = data.pair((X, Y, X[:, 0]), U, batch_size=2, ratio=3, indexed=True)
    inputs, y, weight = dataset.element_spec
    assert {key: tuple(spec.shape) for key, spec in inputs.items()} == {
        "labeled": (2, 3),
        "unlabeled": (6, 3),
        "index": (6,),
    }
    assert inputs["index"].dtype == tf.int64
    assert tuple(y.shape) == tuple(weight.shape) == (2,)
    assert int(dataset.cardinality()) == len(list(dataset)) == 4


def test_labels_and_weights_stay_with_their_inputs():
    for inputs, y, weight in data.pair((X, Y, Y * 0.5), U, batch_size=4, ratio=1, seed=1):
        np.testing.assert_array_equal(inputs["labeled"][:, 0], tf.cast(y, tf.float32))
        np.testing.assert_array_equal(weight, y.numpy() * 0.5)


@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_an_epoch_is_one_reshuffled_pass_and_the_index_tells_the_position(kind):
    unlabeled = U if kind == "arrays" else tf.data.Dataset.from_tensor_slices(U)
    dataset = data.pair((X, Y), unlabeled, batch_size=2, ratio=2, seed=3, indexed=True)
    first, second = _unlabeled_rows(dataset), _unlabeled_rows(dataset)
    assert sorted(first) == sorted(second) == list(range(24))
    assert first != second != list(range(24))
    for inputs, _ in dataset:
        np.testing.assert_array_equal(U[inputs["index"].numpy()], inputs["unlabeled"])


def test_incomplete_batches_are_dropped():
    rows = _unlabeled_rows(data.pair((X, Y), U, batch_size=1, ratio=7))
    assert len(rows) == len(set(rows)) == 21


def test_few_labels_pass_whole_before_any_repeats():
    dataset = data.pair((X[:3], Y[:3]), U, batch_size=8, ratio=0.5, seed=0)
    labels = np.concatenate([y.numpy() for _, y in dataset])
    assert len(labels) == 48
    for start in range(0, 48, 3):
        assert sorted(labels[start : start + 3]) == [0, 1, 2]


def test_steps_set_the_epoch_in_both_directions():
    assert len(_unlabeled_rows(data.pair((X, Y), U, batch_size=2, ratio=2, steps=2))) == 8
    longer = data.pair((X, Y), U, batch_size=2, ratio=2, steps=12)
    rows = _unlabeled_rows(longer)
    assert int(longer.cardinality()) == 12
    assert sorted(rows[:24]) == sorted(rows[24:]) == list(range(24))
    assert rows[:24] != rows[24:]


def test_without_shuffling_the_order_is_kept():
    dataset = data.pair((X, Y), U, batch_size=4, ratio=3, shuffle=False)
    assert _unlabeled_rows(dataset) == list(range(24))
    assert np.concatenate([y for _, y in dataset]).tolist() == list(range(8))


def test_tf_data_gives_what_arrays_give():
    labeled = tf.data.Dataset.from_tensor_slices((X, Y))
    unlabeled = tf.data.Dataset.from_tensor_slices(U)
    options = dict(batch_size=2, ratio=3, seed=5, indexed=True)
    _same(data.pair(labeled, unlabeled, **options), data.pair((X, Y), U, **options))


def test_a_shuffle_buffer_bounds_how_far_an_example_of_a_stream_moves():
    dataset = data.pair((X, Y), tf.data.Dataset.from_tensor_slices(U), batch_size=2, ratio=2, shuffle=3, seed=0)
    rows = _unlabeled_rows(dataset)
    assert sorted(rows) == list(range(24)) != rows
    assert all(row - place < 3 for place, row in enumerate(rows))


def test_texts_and_dictionaries_pass():
    texts = np.array(["a", "bc", "déf", "g"])
    x = {"text": texts, "length": [1, 2, 3, 1]}
    dataset = data.pair((x, [0, 1, 1, 0]), x, batch_size=2, ratio=1, indexed=True)
    for inputs, _ in dataset:
        assert inputs["labeled"]["text"].dtype == tf.string
        seen = [text.decode() for text in inputs["unlabeled"]["text"].numpy()]
        assert seen == texts[inputs["index"].numpy()].tolist()
        np.testing.assert_array_equal(inputs["unlabeled"]["length"], [len(text) for text in seen])


def test_a_stream_of_unknown_length_ends_the_epoch_when_it_ends():
    spec = tf.TensorSpec([3], tf.float32)
    unlabeled = tf.data.Dataset.from_generator(lambda: iter(U), output_signature=spec)
    dataset = data.pair((X, Y), unlabeled, batch_size=2, ratio=2)
    assert int(dataset.cardinality()) == tf.data.UNKNOWN_CARDINALITY
    assert sorted(_unlabeled_rows(dataset)) == list(range(24))


def test_an_endless_stream_needs_steps():
    endless = tf.data.Dataset.from_tensor_slices(U).repeat()
    with pytest.raises(ValueError, match="steps="):
        data.pair((X, Y), endless, batch_size=2)
    assert int(data.pair((X, Y), endless, batch_size=2, steps=30).cardinality()) == 30


def test_the_global_seed_and_the_own_seed_each_repeat_a_run():
    def run(**options):
        dataset = data.pair((X, Y), U, batch_size=2, ratio=2, **options)
        return _list(dataset) + _list(dataset)

    runs = []
    for seed in (7, 7, 8):
        keras.utils.set_random_seed(seed)
        runs.append(run())
    assert _equal(runs[0], runs[1])
    assert not _equal(runs[0], runs[2])
    assert _equal(run(seed=4), run(seed=4))
    assert not _equal(run(seed=4), run(seed=5))


def test_a_seed_repeats_the_batches_and_views_in_another_process():
    script = """
        import json, numpy as np, tensorflow as tf
        from keras_consistency import data
        class Noise(tf.keras.layers.Layer):
            def call(self, inputs, training=True, seed=None):
                return inputs + tf.random.stateless_uniform(tf.shape(inputs), seed)
        pairs = data.pair((np.ones([4, 1], "float32"), range(4)), np.ones([20, 1], "float32"),
                          batch_size=2, ratio=2, seed=6, indexed=True)
        views = data.with_views(pairs, strong=Noise(), seed=6)
        seen = [[b["index"].numpy().tolist(), y.numpy().tolist(), b["strong"].numpy().tolist()] for b, y in views]
        print(json.dumps(seen))
    """
    assert _run(script) == _run(script)


def test_a_strategy_splits_every_key_evenly_and_in_order():
    seen = _run("""
        import json, numpy as np, tensorflow as tf
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
        from keras_consistency import data
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        runs = []
        for ratio in (3, 1, 0.5):
            with strategy.scope():
                dataset = data.pair((np.arange(12.), np.arange(12)), np.arange(24.), batch_size=4, ratio=ratio,
                                    shuffle=False, indexed=True)
            unknown = lambda x: tf.py_function(lambda v: v, [x], tf.float64)
            unknown_rows = lambda x: tf.ensure_shape(unknown(x), [None])
            dataset = data.with_views(dataset, strong=unknown_rows)
            first = next(iter(strategy.experimental_distribute_dataset(dataset)))
            parts = tf.nest.map_structure(
                lambda v: [p.numpy().tolist() for p in strategy.experimental_local_results(v)], first)
            runs.append([parts[0], parts[1]])
        print(json.dumps(runs))
    """)
    for (inputs, y), rows in zip(seen, (6, 2, 1), strict=True):
        halves = [list(range(rows)), list(range(rows, 2 * rows))]
        assert inputs["unlabeled"] == inputs["index"] == inputs["strong"] == halves
        assert inputs["labeled"] == y == [[0, 1], [2, 3]]


def test_batches_that_do_not_split_evenly_are_refused_under_a_strategy():
    class Three:
        num_replicas_in_sync = 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute, "get_strategy", Three)
        with pytest.raises(ValueError, match="multiples of the 3 replicas"):
            data.pair((X, Y), U, batch_size=4, ratio=3)


# Labels of 7, 3 and 1 examples, of the classes 0, 2 and 5: `X` tells the position.
RARE = np.array([0, 2, 0, 0, 5, 0, 2, 0, 0, 2, 0])
RARE_X = np.arange(11, dtype="float32")[:, None] * np.ones((1, 3), "float32")
ONE_HOT = np.eye(6, dtype="float32")[RARE]


def _balanced(labeled=(RARE_X, RARE), *, batch_size=4, steps=50, **options):
    return data.pair(labeled, U, batch_size=batch_size, ratio=1, steps=steps, balanced=True, **options)


def _drawn(dataset):
    """Positions and class numbers of the labelled examples, a row a batch."""
    batches = [(inputs["labeled"][:, 0], y) for inputs, y, *_ in dataset.as_numpy_iterator()]
    return np.array([x for x, _ in batches]).astype(int), np.array([y for _, y in batches])


@pytest.mark.parametrize("shuffle", [True, False, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7])
def test_balanced_batches_hold_the_classes_as_evenly_as_their_size_allows(batch_size, shuffle):
    positions, labels = _drawn(_balanced(batch_size=batch_size, shuffle=shuffle, seed=1))
    np.testing.assert_array_equal(labels, RARE[positions])
    for counted in [*labels, labels]:
        counts = [np.sum(counted == label) for label in (0, 2, 5)]
        assert max(counts) - min(counts) <= 1 and sum(counts) == counted.size
    # Halves of a batch, as two replicas get them, are as even.
    for half in labels[:, : batch_size // 2]:
        assert np.unique(half, return_counts=True)[1].max(initial=0) <= -(-half.size // 3)


@pytest.mark.parametrize("shuffle", [True, False])
def test_balanced_examples_of_a_class_pass_whole_before_any_repeats(shuffle):
    positions, labels = (values.ravel() for values in _drawn(_balanced(shuffle=shuffle, seed=1)))
    passes = {}
    for label in (0, 2, 5):
        own, drawn = np.flatnonzero(RARE == label), positions[labels == label]
        whole = drawn[: len(drawn) // len(own) * len(own)].reshape(-1, len(own))
        np.testing.assert_array_equal(np.sort(whole, axis=1), np.tile(own, (len(whole), 1)))
        passes[label] = {tuple(each) for each in whole}
    assert len(passes[0]) > 5 if shuffle else passes[0] == {(0, 2, 3, 5, 7, 8, 10)}
    if not shuffle:
        assert labels[:6].tolist() == [0, 2, 5, 0, 2, 5]


def test_balanced_order_is_drawn_anew_in_each_epoch_and_repeats_with_its_seed():
    def run(**options):
        dataset = _balanced(steps=6, **options)
        return _list(dataset), _list(dataset)

    (first, second), again = run(seed=4), run(seed=4)
    assert _equal((first, second), again)
    assert not _equal(first, second) and not _equal(first, run(seed=5)[0])
    runs = []
    for seed in (7, 7, 8):
        keras.utils.set_random_seed(seed)
        runs.append(run())
    assert _equal(runs[0], runs[1])
    assert not _equal(runs[0], runs[2])


def test_balanced_stream_draws_the_order_of_the_classes():
    dataset = _balanced(batch_size=3, steps=1, seed=0)
    assert len({tuple(_drawn(dataset)[1][0]) for _ in range(8)}) >= 3


@pytest.mark.parametrize(
    "labels",
    [RARE, RARE[:, None], RARE.astype("uint8"), RARE.astype("float32"), ONE_HOT, ONE_HOT.astype("int32")],
    ids=["numbers", "column", "unsigned", "floats", "one-hot", "one-hot integers"],
)
def test_balanced_labels_may_be_numbers_or_one_hot_rows(labels):
    positions, _ = _drawn(_balanced(seed=2))
    found, given = _drawn(_balanced((RARE_X, labels), seed=2))
    np.testing.assert_array_equal(found, positions)
    np.testing.assert_array_equal(given, labels[positions])


@pytest.mark.parametrize("length", ["known", "unknown"])
def test_balanced_stream_of_tf_data_gives_what_arrays_give(length):
    weight = np.arange(11, dtype="float32")
    stream = tf.data.Dataset.from_tensor_slices((RARE_X, RARE, weight))
    stream = stream if length == "known" else stream.filter(lambda x, y, weight: True)
    dataset = _balanced(stream, seed=3)
    assert int(dataset.cardinality()) == 50
    _same(dataset, _balanced((RARE_X, RARE, weight), seed=3))


def test_balanced_epoch_is_still_one_pass_over_the_unlabelled():
    dataset = _balanced(steps=None, indexed=True, seed=0)
    assert int(dataset.cardinality()) == 6
    assert sorted(_unlabeled_rows(dataset)) == list(range(24))


def test_balanced_dictionaries_pass():
    texts = np.array(["a", "b", "c", "d"])
    dataset = data.pair(({"text": texts}, [0, 0, 0, 1]), {"text": texts}, batch_size=4, ratio=1, steps=3, balanced=True)
    for inputs, y in dataset:
        assert sorted(y.numpy()) == [0, 0, 1, 1]
        np.testing.assert_array_equal(inputs["labeled"]["text"].numpy() == b"d", y.numpy() == 1)


@pytest.mark.parametrize(
    "labels, words",
    [
        (np.where(RARE == 5, 0.5, RARE), "class numbers or one-hot rows.*row 4 is neither: 0.5"),
        (np.where(ONE_HOT > 0, 0.9, 0.02), "one-hot rows.*row 0 is neither"),
        (2 * ONE_HOT, "one-hot rows.*row 0 is neither"),
        (np.where(np.arange(11)[:, None] == 6, 0, ONE_HOT), "one-hot rows.*row 6 is neither"),
        (np.array(list("abcdefghijk")), "class numbers.*dtype string"),
        (np.zeros((11, 2, 2), int), r"class numbers.*shape \(11, 2, 2\)"),
        ({"a": RARE, "b": RARE}, "class numbers.*a dict.*one array"),
        (RARE - 1, "non-negative class numbers"),
    ],
    ids=["half", "soft", "two", "none", "texts", "dense", "several", "negative"],
)
@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_labels_that_cannot_be_balanced_are_told(labels, words, kind):
    labeled = (RARE_X, labels)
    with pytest.raises(ValueError, match=words):
        _balanced(labeled if kind == "arrays" else tf.data.Dataset.from_tensor_slices(labeled))


def test_balanced_stream_without_end_is_told():
    endless = tf.data.Dataset.from_tensor_slices((RARE_X, RARE)).repeat()
    with pytest.raises(ValueError, match="`labeled`.*`balanced=True`.*Received: a data set.*no end"):
        _balanced(endless)


@pytest.mark.parametrize("balanced", [1, None, "yes"])
def test_balanced_must_be_true_or_false(balanced):
    with pytest.raises(TypeError, match=f"`balanced`.*Received: balanced={balanced!r}"):
        data.pair((RARE_X, RARE), U, batch_size=4, ratio=1, balanced=balanced)


NAN = np.where(np.arange(24)[:, None] == 5, np.nan, U).astype("float32")


@pytest.mark.parametrize(
    "labeled, unlabeled, options, words",
    [
        ((X[:0], Y[:0]), U, {}, "`labeled` must hold at least one"),
        ((X, Y), U[:0], {}, "`unlabeled` must hold at least one"),
        ((X, Y[:9]), U, {}, "one length.*10.*9"),
        ((X, Y), U[:, :2], {}, "one shape and dtype"),
        ((X, Y), U.astype("float64"), {}, "one shape and dtype"),
        ((X, Y), {"a": U}, {}, "one structure"),
        (({"a": X}, Y), {"b": U}, {}, "one structure"),
        ((X, Y), (U, U[:, 0]), {}, "drop the labels"),
        ((X, Y), tf.data.Dataset.from_tensor_slices((U, U[:, 0])), {}, "drop the labels"),
        (tf.data.Dataset.from_tensor_slices(X), U, {}, "`labeled` must hold examples"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).batch(2), U, {}, "unbatch"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: y < 0), U, {}, "`labeled` must hold at least"),
        ((X,), U, {}, "two parts"),
        ((X, Y), NAN, {}, "`unlabeled` must be finite.*row 5"),
        ((X, np.where(Y == 4, np.inf, 0.0)), U, {}, r"labeled\[y\]` must be finite.*row 4"),
        ((X, Y - 1), U, {}, "non-negative class numbers.*row 0"),
        ((X, Y), U, {"batch_size": 0}, "`batch_size`"),
        ((X, Y), U, {"ratio": 0}, "`ratio`"),
        ((X, Y), U, {"ratio": 0.3}, "whole number.*ratio=0.3"),
        ((X, Y), U, {"ratio": float("nan")}, "`ratio`"),
        ((X, Y), U, {"ratio": 20}, "batch_size=2, ratio=20 and 24"),
        ((X, Y), U, {"steps": 0}, "`steps`"),
        ((X, Y), U, {"seed": -1}, "`seed`"),
    ],
)
def test_bad_values_are_told_early(labeled, unlabeled, options, words):
    with pytest.raises(ValueError, match=words):
        data.pair(labeled, unlabeled, **{"batch_size": 2, "ratio": 2, **options})


@pytest.mark.parametrize(
    "labeled, unlabeled, options, words",
    [
        (X, U, {}, "`labeled` must be a tuple"),
        ((X, None), U, {}, r"labeled\[y\]` must be an array"),
        ((X, Y), 3.0, {}, "scalar"),
        ((X, Y), U, {"batch_size": 2.0}, "`batch_size`"),
        ((X, Y), U, {"ratio": "7"}, "`ratio`"),
        ((X, Y), U, {"seed": 0.5}, "`seed`"),
        ((X, Y), tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1.0], [2.0, 3.0]])), {}, "dense"),
    ],
)
def test_wrong_types_are_told_early(labeled, unlabeled, options, words):
    with pytest.raises(TypeError, match=words):
        data.pair(labeled, unlabeled, **{"batch_size": 2, "ratio": 2, **options})


@pytest.mark.parametrize(
    "labeled, unlabeled, words",
    [((X, Y), NAN, "kc.data.pair: `unlabeled` must be finite"), ((X, Y - 1), U, "kc.data.pair: .*non-negative class")],
)
def test_bad_values_in_a_stream_stop_it_with_a_clear_message(labeled, unlabeled, words):
    slices = tf.data.Dataset.from_tensor_slices
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        list(data.pair(slices(labeled), slices(unlabeled), batch_size=2, ratio=2))


@keras.saving.register_keras_serializable(package="keras_consistency_data_test")
class Noise(keras.layers.Layer):
    """Adds uniform noise in [0, 1), made from an explicit seed only."""

    def call(self, inputs, training=True, seed=None):
        return inputs + tf.random.stateless_uniform(tf.shape(inputs), seed)


def _pairs():
    return data.pair((X, Y), U, batch_size=2, ratio=3, seed=0, indexed=True)


def test_views_come_from_the_example_beside_them():
    dataset = data.with_views(_pairs(), labeled=lambda x: -x, weak=keras.layers.Identity(), strong=lambda u: u * 2)
    assert int(dataset.cardinality()) == 4
    for inputs, y in dataset:
        assert sorted(inputs) == ["index", "labeled", "strong", "unlabeled", "weak"]
        np.testing.assert_array_equal(inputs["unlabeled"], U[inputs["index"].numpy()])
        np.testing.assert_array_equal(inputs["weak"], inputs["unlabeled"])
        np.testing.assert_array_equal(inputs["strong"], 2 * inputs["unlabeled"])
        np.testing.assert_array_equal(inputs["labeled"][:, 0], -tf.cast(y, tf.float32))
        assert inputs["strong"].shape == (6, 3)


def test_one_layer_under_two_names_draws_twice_and_anew_in_each_epoch():
    noise = Noise()
    dataset = data.with_views(_pairs(), labeled=noise, first=noise, second=noise, seed=1)
    draws = []
    for _ in range(2):
        for inputs, _ in dataset:
            for name in ("first", "second"):
                draws.append((inputs[name] - inputs["unlabeled"]).numpy())
                assert draws[-1].min() >= 0 and draws[-1].max() <= 1
    assert len({draw.tobytes() for draw in draws}) == len(draws) == 16


@pytest.mark.parametrize("calls", [1, 2, tf.data.AUTOTUNE])
def test_views_do_not_depend_on_the_number_of_parallel_calls(calls):
    def views(**options):
        return data.with_views(_pairs(), strong=Noise(), seed=1, **options)

    _same(views(num_parallel_calls=calls), views(num_parallel_calls=None))


def test_the_global_seed_repeats_the_views():
    runs = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        runs.append(_list(data.with_views(_pairs(), strong=Noise())))
    assert _equal(runs[0], runs[1])
    assert not _equal(runs[0], runs[2])


TEXTS = np.array([b"a b", "c d\u00e9 f".encode(), b"", b"\xff g"], dtype=object)


def test_views_of_byte_strings_come_from_the_text_beside_them():
    pairs = data.pair((TEXTS, [0, 1, 2, 3]), TEXTS, batch_size=2, ratio=2, seed=0, indexed=True)
    dataset = data.with_views(pairs, labeled=lambda x: x + b"?", strong=lambda u: tf.strings.join([u, u], " "))
    assert int(dataset.cardinality()) == 1
    for inputs, y in dataset:
        texts = TEXTS[inputs["index"].numpy()]
        assert inputs["unlabeled"].numpy().tolist() == texts.tolist()
        assert inputs["strong"].numpy().tolist() == [each + b" " + each for each in texts]
        assert inputs["labeled"].numpy().tolist() == [each + b"?" for each in TEXTS[y.numpy()]]
        assert inputs["strong"].shape == (4,) and inputs["strong"].dtype == tf.string


@pytest.mark.parametrize("calls", [1, 2, tf.data.AUTOTUNE])
def test_views_of_texts_do_not_depend_on_the_number_of_parallel_calls(calls):
    texts = np.array([f"{number} b c d e f g h" for number in range(24)])

    def views(**options):
        pairs = data.pair((texts, np.arange(24)), texts, batch_size=2, ratio=3, seed=0)
        return data.with_views(pairs, strong=text.WordDeletion(strength=0.5), seed=1, **options)

    _same(views(num_parallel_calls=calls), views(num_parallel_calls=None))


def test_an_epoch_is_an_iteration_that_was_begun_so_that_a_new_process_goes_on_with_any():
    def batches():
        return data.with_views(data.pair((X, Y), U, batch_size=2, ratio=2, seed=1), noisy=Noise(), seed=2)

    uninterrupted, resumed = batches(), batches()
    epochs = [_list(uninterrupted) for _ in range(3)]
    for _ in range(2):
        iter(resumed)
    third = _list(resumed)
    assert all(_equal(a, b) for a, b in zip(third, epochs[2], strict=True))
    assert not any(_equal(a, b) for a, b in zip(third, epochs[0], strict=True))


def test_bad_views_are_told():
    with pytest.raises(ValueError, match="at least one view"):
        data.with_views(_pairs())
    for name in ("unlabeled", "index"):
        with pytest.raises(ValueError, match=f"View `{name}`"):
            data.with_views(_pairs(), **{name: Noise()})
    with pytest.raises(ValueError, match="View `weak`"):
        data.with_views(data.with_views(_pairs(), weak=Noise()), weak=Noise())
    with pytest.raises(ValueError, match="number of examples"):
        data.with_views(_pairs(), weak=lambda u: u[:2])
    with pytest.raises(TypeError, match="View `weak`"):
        data.with_views(_pairs(), weak=3)
    with pytest.raises(TypeError, match="`dataset`"):
        data.with_views(tf.data.Dataset.from_tensor_slices((X, Y)).batch(2), weak=Noise())
