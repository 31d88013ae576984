"""What a step records of itself, and what bad batches change: nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.snapshots import Snapshot
from keras_consistency.watch import Watch
from tests.contracts import recipes
from tests.contracts.replicas_test import strategy_of

EAGER = {"run_eagerly": True}  # a few steps take less than a trace


def watched(name="fixmatch", *, skip=True, compiled=EAGER, **options):
    model = recipes.model(name, compiled=compiled, **options)
    model.watch = Watch(model, length=8, skip=skip)
    return model


def fit(model, data=None):
    data = recipes.batches() if data is None else data
    return model.fit(data, verbose=0, shuffle=False).history


def spoilt(value, key="unlabeled"):
    """Batches that a number multiplies."""

    def spoil(inputs, y):
        return inputs | {key: inputs[key] * value}, y

    return recipes.batches().map(spoil)


def test_records_are_those_of_the_step():
    model, plain = watched(skip=False), recipes.model("fixmatch", compiled=EAGER)
    for number, batch in enumerate(recipes.batches()):
        before = [w.astype("float64") for w in model.student.get_weights()]
        model.reset_metrics()
        logs = model.train_on_batch(*batch, return_dict=True)
        plain.train_on_batch(*batch)
        ((step, found),) = model.watch.read(number)
        assert step == number
        for name in ("loss", "supervised_loss", "consistency_loss", "consistency_mask_rate", "consistency_agreement"):
            assert found[name] == pytest.approx(logs[name], rel=1e-5), name
        after = [w.astype("float64") for w in model.student.get_weights()]
        length = np.sqrt(sum((w**2).sum() for w in before))
        moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(after, before, strict=True)))
        teacher = model.teacher.network.get_weights()
        apart = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(after, teacher, strict=True)))
        assert found["update_ratio"] == pytest.approx(moved / length, rel=1e-4)
        assert found["teacher_distance"] == pytest.approx(apart / length, rel=1e-4)
        assert found["learning_rate"] == pytest.approx(0.1)
        assert (found["finite"], found["skipped"]) == (1.0, 0.0)
    recipes.assert_equal_state(model, plain)


def test_gradient_norm_is_that_of_plain_descent():
    model = watched(skip=False, optimizer=keras.optimizers.SGD(0.5))
    before = model.student.get_weights()
    model.train_on_batch(*next(iter(recipes.batches())))
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(model.student.get_weights(), before, strict=True)))
    assert model.watch.read(0)[0][1]["gradient_norm"] == pytest.approx(moved / 0.5, rel=1e-4)


def test_the_record_holds_the_last_steps():
    model = watched(skip=False)
    for _ in range(3):
        fit(model)
    assert [step for step, _ in model.watch.read(0)] == list(range(4, 12))
    assert [step for step, _ in model.watch.read(10)] == [10, 11]
    assert model.watch.read(12) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fixmatch", np.inf),
        ("freematch", np.nan),
        ("simmatch", np.nan),
        ("temporal_ensembling", np.nan),
        pytest.param("flexmatch", np.nan, marks=pytest.mark.slow),
        pytest.param("mean_teacher", np.nan, marks=pytest.mark.slow),
    ],
)
def test_batches_that_are_not_finite_leave_nothing(name, value):
    model = watched(name, optimizer=keras.optimizers.SGD(0.1), ema=0.9)
    fit(model)
    expected = [array.copy() for array in recipes.state(model)]
    history = fit(model, spoilt(value))
    for ours, theirs in zip(recipes.state(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(np.isfinite(values).all() for values in history.values())
    assert [(record["finite"], record["skipped"]) for _, record in model.watch.read(4)] == [(0.0, 1.0)] * 4


def test_without_skipping_inputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="must be finite"):
        fit(watched(skip=False), spoilt(np.nan))


def test_batches_above_the_limits_leave_nothing():
    network = recipes.student(normalize=True)
    model = watched(network=network, optimizer=keras.optimizers.SGD(0.1))
    fit(model)
    expected = [array.copy() for array in recipes.state(model)]
    usual = [record["statistics_change"] for _, record in model.watch.read(0)]
    model.watch.limits["statistics_change"].assign(20 * np.median(usual))
    fit(model, spoilt(1e6))
    for ours, theirs in zip(recipes.state(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model.watch.limits["gradient_norm"].assign(1e-6)
    fit(model)
    for ours, theirs in zip(recipes.state(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model.watch.limits["gradient_norm"].assign(1e6)
    fit(model)
    assert any(np.any(a != b) for a, b in zip(recipes.state(model), expected, strict=True))


def test_momentum_goes_on_and_the_step_counts():
    model = watched()
    fit(model)
    before = model.student.get_weights()
    fit(model, spoilt(np.nan))
    assert model.optimizer.iterations == 8
    assert any(np.any(a != b) for a, b in zip(model.student.get_weights(), before, strict=True))


def test_overflow_of_float16_is_left_to_the_loss_scale():
    keras.config.set_dtype_policy("mixed_float16")
    model = watched()
    model.optimizer.build(model.student.trainable_variables)
    model.optimizer.dynamic_scale.assign(2.0**40)
    before = model.student.get_weights()
    fit(model, recipes.batches().take(1))
    assert model.optimizer.dynamic_scale.numpy() == 2.0**39
    ((_, record),) = model.watch.read(0)
    assert record["finite"] == 1.0
    for a, b in zip(model.student.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def good_and_bad():
    """State and records of a training of four batches, and four that are NaN."""
    keras.config.set_dtype_policy("float32")  # Made before `fresh_keras` forgets that of the test before.
    model = watched(optimizer=keras.optimizers.SGD(0.1))
    fit(model)
    fit(model, spoilt(np.nan))
    return recipes.state(model), model.watch.read(0)


@pytest.mark.parametrize(
    "options",
    [{"jit_compile": False, "steps_per_execution": 2}, pytest.param({"jit_compile": True}, marks=pytest.mark.slow)],
)
def test_however_the_step_runs(options, good_and_bad):
    state, records = good_and_bad
    model = watched(compiled=options, optimizer=keras.optimizers.SGD(0.1))
    fit(model), fit(model, spoilt(np.nan))
    for ours, theirs in zip(recipes.state(model), state, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    for (_, a), (_, b) in zip(records, model.watch.read(0), strict=True):
        for name in ("loss", "gradient_norm", "skipped"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, err_msg=name)


def test_one_bad_replica_makes_a_bad_batch(good_and_bad):
    with strategy_of(2).scope():
        model = watched(compiled={"jit_compile": False}, optimizer=keras.optimizers.SGD(0.1))
        batches = recipes.batches()
    fit(model, batches)
    expected = [array.copy() for array in recipes.state(model)]
    for (_, a), (_, b) in zip(model.watch.read(0), good_and_bad[1][:4], strict=True):
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=1e-6, err_msg=name)

    def spoil(inputs, y):
        u = inputs["unlabeled"]
        return inputs | {"unlabeled": tf.tensor_scatter_nd_update(u, [[0, 0]], [np.nan])}, y

    fit(model, recipes.batches().map(spoil))
    for ours, theirs in zip(recipes.state(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_snapshot_puts_back_what_was_learnt_and_nothing_else():
    model = recipes.model("flexmatch", optimizer=keras.optimizers.Adam(0.01), compiled=EAGER)
    fit(model)
    snapshot, expected = Snapshot(model), [array.copy() for array in recipes.state(model)]
    moments = [v.numpy().copy() for v in model.optimizer.variables if v.name not in ("iteration", "learning_rate")]
    fit(model)
    model.optimizer.learning_rate = 0.005
    assert snapshot.finite
    snapshot.restore()
    for ours, theirs in zip(recipes.state(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    found = [v.numpy() for v in model.optimizer.variables if v.name not in ("iteration", "learning_rate")]
    for ours, theirs in zip(found, moments, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.optimizer.iterations == 8 and model.optimizer.learning_rate == np.float32(0.005)
    model.student.trainable_variables[0].assign(np.nan * model.student.trainable_variables[0])
    assert not Snapshot(model).finite


def test_length_outside_its_range():
    with pytest.raises(ValueError, match="`length` must be an integer of at least 1"):
        Watch(recipes.model("fixmatch"), length=0)
    assert kc.ConsistencyModel(recipes.student(), []).watch is None
