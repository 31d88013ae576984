"""The rate of every single update, read off weights that move by it, against float64 formulas."""

import csv
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.callbacks import LearningRate
from tests.contracts import recipes
from tests.contracts.replicas_test import strategy_of

# Keras's own saving and callbacks convert variables in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KERAS = keras.optimizers.schedules
STEPS = 10
SOURCES = {
    "fixed": lambda: 0.7,
    "scheduled": lambda: KERAS.ExponentialDecay(0.7, 3, 0.5),
    "called": lambda: own_rate,
}
GRAPH = {"jit_compile": False}


def own_rate():
    return 0.7


def half(step):
    return 0.4 * 0.5**step


def decay():
    return KERAS.ExponentialDecay(0.4, 1, 0.5)


@keras.saving.register_keras_serializable(package="learning_rate_test")
class Output(keras.losses.Loss):
    """The mean of what the model returns: with inputs of one 1, each batch moves the one weight that it names."""

    def call(self, y_true, y_pred):
        return tf.reduce_mean(tf.cast(y_pred, tf.float32), axis=-1)


def linear(optimizer=None, *, steps=STEPS, **compiled):
    model = keras.Sequential(
        [keras.Input([steps]), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="rates")]
    )
    model.compile(keras.optimizers.SGD(0.7) if optimizer is None else optimizer, loss=Output(), **compiled)
    return model


def batches(steps=STEPS, *, first=0, copies=1, spoiled=()):
    """One batch a step, of `copies` rows that are 1 where the step's weight is; infinite in spoiled steps."""
    x = np.eye(steps, dtype="float32")
    x[list(spoiled), list(spoiled)] = np.inf
    x = x[first:]
    x = np.repeat(x, copies, axis=0)
    return tf.data.Dataset.from_tensor_slices((x, np.zeros([len(x), 1], "float32"))).batch(copies)


def fit(model, callbacks, data=None, **options):
    return model.fit(batches() if data is None else data, verbose=0, shuffle=False, callbacks=callbacks, **options)


def applied(model):
    """The rate of each step's update."""
    return -model.get_layer("rates").kernel.numpy()[:, 0].astype("float64")


class Watcher(keras.callbacks.Callback):
    """Keeps what a callback sees."""

    def __init__(self):
        super().__init__()
        self.logged, self.read, self.saved = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.logged.append(logs["learning_rate"])
        self.read.append(float(tf.convert_to_tensor(self.model.optimizer.learning_rate)))
        optimizer = self.model.optimizer
        self.saved.append((optimizer.get_config().get("learning_rate"), len(optimizer.variables)))


class Calls(keras.callbacks.Callback):
    """Calls a function of the model at one of a callback's hooks, each time or at one number."""

    def __init__(self, hook, function, at=None):
        super().__init__()
        self.at = at
        setattr(self, hook, lambda number, logs=None: at in (None, number) and function(self.model))


class Traced(KERAS.LearningRateSchedule):
    """Counts how often it becomes part of a graph; gives what a float64 array says."""

    def __init__(self, values):
        self.values, self.traces = values, 0

    def __call__(self, step):
        self.traces += not tf.executing_eagerly()
        return tf.gather(tf.constant(self.values, tf.float32), step)


class TestRateOfEveryUpdate:
    @pytest.mark.parametrize("source", SOURCES)
    @pytest.mark.parametrize("kind", ["schedule", "function", "number"])
    def test_equals_the_schedule(self, source, kind):
        model = linear(keras.optimizers.SGD(SOURCES[source]()), steps_per_execution=4, **GRAPH)
        schedule = {"schedule": decay(), "function": half, "number": 0.3}[kind]
        fit(model, [LearningRate(schedule)])
        expected = np.full(STEPS, 0.3) if kind == "number" else half(np.arange(STEPS))
        np.testing.assert_allclose(applied(model), expected, rtol=1e-6)

    @pytest.mark.parametrize(
        "compiled", [{"jit_compile": True}, {"run_eagerly": True}, GRAPH], ids=lambda each: [*each][0]
    )
    @pytest.mark.parametrize("schedule", [decay(), half], ids=["schedule", "function"])
    def test_is_the_same_however_the_model_is_compiled(self, compiled, schedule):
        model = linear(**compiled)
        fit(model, [LearningRate(schedule, warmup_steps=3)])
        expected = half(np.arange(STEPS)) * np.minimum((np.arange(STEPS) + 1) / 3, 1)
        np.testing.assert_allclose(applied(model), expected, rtol=1e-6)

    @pytest.mark.parametrize("source", ["fixed", "scheduled"])
    @pytest.mark.parametrize("schedule", [decay(), half], ids=["schedule", "function"])
    def test_replicas(self, source, schedule):
        with strategy_of(2).scope():
            model = linear(keras.optimizers.SGD(SOURCES[source]()), **GRAPH)
        history = fit(model, [LearningRate(schedule, warmup_steps=3)], batches(copies=2)).history
        expected = half(np.arange(STEPS)) * np.minimum((np.arange(STEPS) + 1) / 3, 1)
        np.testing.assert_allclose(applied(model), expected, rtol=1e-6)
        np.testing.assert_allclose(history["learning_rate"], expected[-1:], rtol=1e-6)

    @pytest.mark.parametrize("source", ["fixed", "scheduled"])
    @pytest.mark.parametrize("schedule", [decay(), half], ids=["schedule", "function"])
    def test_gathered_gradients_count_as_one_update(self, source, schedule):
        optimizer = keras.optimizers.SGD(SOURCES[source](), gradient_accumulation_steps=3)
        model = linear(optimizer, steps_per_execution=2, **GRAPH)
        fit(model, [LearningRate(schedule, warmup_steps=2)])
        expected = np.repeat(half(np.arange(3)) * [0.5, 1, 1], 3) / 3
        np.testing.assert_allclose(applied(model), [*expected, 0.0], rtol=1e-6)

    @pytest.mark.parametrize("source", ["fixed", "scheduled"])
    @pytest.mark.parametrize("replicas", [1, 2])
    def test_update_that_loss_scaling_skips_does_not_count(self, source, replicas):
        keras.config.set_dtype_policy("mixed_float16")
        with strategy_of(replicas).scope():
            optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(SOURCES[source]()), initial_scale=16.0)
            model = linear(optimizer, **GRAPH)
        watcher = Watcher()
        fit(model, [LearningRate(half), watcher], batches(copies=replicas, spoiled=[0, 4]))
        rates = iter(half(np.arange(STEPS)))
        expected = [0.0 if step in (0, 4) else next(rates) for step in range(STEPS)]
        np.testing.assert_allclose(applied(model), expected, rtol=1e-6)
        np.testing.assert_allclose(watcher.logged, [0.4, *expected[1:4], expected[3], *expected[5:]], rtol=1e-6)

    def test_epochs_and_warm_up_in_steps(self):
        for schedule in (half, decay()):
            model, callback = linear(steps_per_execution=2, **GRAPH), LearningRate(schedule, by="epoch", warmup_steps=3)
            history = fit(model, [callback], epochs=4, initial_epoch=2, steps_per_epoch=4).history
            expected = np.repeat(half(np.array([2, 3])), 4) * np.minimum((np.arange(8) + 1) / 3, 1)
            np.testing.assert_allclose(applied(model), [*expected, 0.0, 0.0], rtol=1e-6)
            np.testing.assert_allclose(history["learning_rate"], expected[[3, 7]], rtol=1e-6)

    def test_weights_are_those_of_keras_with_the_schedule_in_the_optimizer(self):
        x, y = recipes.examples(24)
        weights = []
        for own in (True, False):
            schedule = KERAS.CosineDecay(0.05, 10)
            network = recipes.student()
            optimizer = keras.optimizers.AdamW(0.3 if own else schedule, weight_decay=0.1)
            network.compile(optimizer, loss=recipes.LOSS, **GRAPH)
            network.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[LearningRate(schedule)] if own else [])
            weights.append(np.concatenate([each.numpy().ravel() for each in network.weights]))
        np.testing.assert_allclose(*weights, rtol=0, atol=1e-6)
        assert (
            np.abs(weights[0] - np.concatenate([each.ravel() for each in recipes.student().get_weights()])).max() > 0.1
        )

    def test_function_is_asked_for_every_step_and_may_end_with_the_data(self):
        rates = list(half(np.arange(STEPS)))
        model = linear(steps_per_execution=4, **GRAPH)
        # An execution has all of its steps, where there are data, whatever Keras is told of the length of an epoch.
        fit(model, [LearningRate(lambda step: rates[step])], steps_per_epoch=5)
        np.testing.assert_allclose(applied(model), [*rates[:8], 0.0, 0.0], rtol=1e-6)
        fit(model, [LearningRate(lambda step: rates[step])], batches(first=8))
        np.testing.assert_allclose(applied(model), rates, rtol=1e-6)

    def test_consistency_model(self):
        model = recipes.model("pseudo_label", compiled={"run_eagerly": True})
        watcher = Watcher()
        history = fit(model, [LearningRate(decay()), watcher], recipes.batches(), epochs=2).history
        np.testing.assert_allclose(watcher.logged, half(np.arange(8)), rtol=1e-6)
        np.testing.assert_allclose(history["learning_rate"], half(np.array([3, 7])), rtol=1e-6)
        assert any(name.endswith("_mask_rate") for name in history)


def piecewise(step):
    return 0.5 if step <= 3 else 0.2 if step <= 6 else 0.1


def restarts(step, first=4):
    length, height = first, 1.0
    while step >= length:
        step, length, height = step - length, length * 2, height * 0.5
    return 0.4 * height * (1 + math.cos(math.pi * step / length)) / 2


def one_cycle(step):
    top, end = 0.3 * STEPS - 1, STEPS - 1
    low, high, last = 0.4 / 25, 0.4, 0.4 / 25 / 1e4
    if step <= top:
        return high + (low - high) * (1 + math.cos(math.pi * step / top)) / 2
    return last + (high - last) * (1 + math.cos(math.pi * (step - top) / (end - top))) / 2


READY = {
    "PiecewiseConstantDecay": (lambda: KERAS.PiecewiseConstantDecay([3, 6], [0.5, 0.2, 0.1]), piecewise),
    "ExponentialDecay": (lambda: KERAS.ExponentialDecay(0.4, 3, 0.5), lambda k: 0.4 * 0.5 ** (k / 3)),
    "PolynomialDecay": (
        lambda: KERAS.PolynomialDecay(0.4, 6, 0.1, power=2.0),
        lambda k: 0.3 * (1 - min(k, 6) / 6) ** 2 + 0.1,
    ),
    "CosineDecay": (
        lambda: KERAS.CosineDecay(0.4, 8, alpha=0.25),
        lambda k: 0.4 * (0.75 * (1 + math.cos(math.pi * min(k, 8) / 8)) / 2 + 0.25),
    ),
    "CosineDecayRestarts": (lambda: KERAS.CosineDecayRestarts(0.4, 4, t_mul=2.0, m_mul=0.5), restarts),
    "PartialCosine": (
        lambda: kc.schedules.PartialCosine(value=0.4, steps=8),
        lambda k: 0.4 * math.cos(7 * math.pi * min(k, 8) / 16 / 8),
    ),
    "OneCycle": (lambda: kc.schedules.OneCycle(value=0.4, steps=STEPS), one_cycle),
}


@pytest.mark.parametrize("name", READY)
def test_schedule_that_is_ready_to_use(name):
    schedule, formula = READY[name]
    model = linear(run_eagerly=True)
    fit(model, [LearningRate(schedule())])
    np.testing.assert_allclose(applied(model), [formula(step) for step in range(STEPS)], rtol=1e-5, atol=1e-7)


def test_table_of_the_docstring_names_the_schedules_that_are_ready_to_use():
    named = re.findall(r"\| `(keras\.optimizers|kc)\.schedules\.(\w+)` \|", LearningRate.__doc__)
    assert sorted(name for _, name in named) == sorted(READY)
    for module, name in named:
        assert issubclass(
            getattr(KERAS if module.startswith("keras") else kc.schedules, name), KERAS.LearningRateSchedule
        )


class TestLogs:
    @pytest.mark.parametrize("source", SOURCES)
    def test_rate_is_in_the_logs_and_the_optimizer_wherever_the_callback_stands(self, source, tmp_path):
        model = linear(keras.optimizers.SGD(SOURCES[source]()), **GRAPH)
        before, after = Watcher(), Watcher()
        files = [keras.callbacks.CSVLogger(tmp_path / f"{number}.csv") for number in range(2)]
        callbacks = [before, files[0], LearningRate(decay()), files[1], after]
        history = fit(model, callbacks, epochs=2, steps_per_epoch=5, validation_data=batches()).history
        expected = half(np.arange(STEPS))
        for watcher in (before, after):
            np.testing.assert_allclose(watcher.logged, expected, rtol=1e-6)
            assert watcher.read == watcher.logged
        np.testing.assert_allclose(history["learning_rate"], expected[[4, 9]], rtol=1e-6)
        for file in files:
            with open(file.filename, encoding="utf-8") as lines:
                assert [float(row["learning_rate"]) for row in csv.DictReader(lines)] == history["learning_rate"]
        assert "val_learning_rate" not in history and "val_loss" in history

    def test_what_tensorboard_reads_at_the_end_of_an_epoch(self):
        # TensorBoard, a package of its own, takes the rate from the optimizer inside of one that scales the loss.
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(SOURCES["scheduled"]()))
        model, found = linear(optimizer, run_eagerly=True), []
        read = Calls("on_epoch_end", lambda model: found.append(float(model.optimizer.inner_optimizer.learning_rate)))
        history = fit(model, [read, LearningRate(decay())], epochs=2, steps_per_epoch=5).history
        assert found == history["learning_rate"]

    def test_numbers_of_an_epoch_are_those_without_the_callback(self):
        found = []
        for callbacks in ([LearningRate(0.7)], []):
            with strategy_of(2).scope():
                model = linear(metrics=["mse"], **GRAPH)
            x = np.random.default_rng(0).normal(size=[20, STEPS]).astype("float32")
            history = model.fit(
                x, x[:, :1], batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=callbacks
            ).history
            found.append({name: values for name, values in history.items() if name != "learning_rate"})
        assert found[0] == found[1]

    @pytest.mark.parametrize("compiled", [GRAPH, {"run_eagerly": True}], ids=["graph", "eager"])
    def test_evaluation_inside_of_a_training_is_without_it(self, compiled):
        model, found = linear(**compiled), []

        def evaluate(model):
            found.append(model.evaluate(batches(), verbose=0, return_dict=True))

        callbacks = [Calls(hook, evaluate) for hook in ("on_train_batch_end", "on_epoch_end")]
        history = fit(model, [*callbacks, LearningRate(half)], steps_per_epoch=2).history
        found.append(model.evaluate(batches(), verbose=0, return_dict=True))
        assert [[*each] for each in found] == [["loss"]] * 4
        assert history["learning_rate"] == pytest.approx([0.2])

    def test_step_that_returns_other_logs(self):
        class Custom(keras.Sequential):
            def train_step(self, data):
                super().train_step(data)
                return {"mine": 1.0}

        model = Custom(linear().layers)
        model.compile(keras.optimizers.SGD(0.7), loss=Output(), **GRAPH)
        assert fit(model, [LearningRate(decay())]).history["learning_rate"] == pytest.approx([half(9)])


class TestAfterTraining:
    @pytest.mark.parametrize("compiled", [GRAPH, {"run_eagerly": True}], ids=["graph", "eager"])
    @pytest.mark.parametrize("source", SOURCES)
    def test_optimizer_goes_on_with_its_last_or_its_own_rate(self, source, compiled):
        model, schedule = linear(keras.optimizers.SGD(SOURCES[source]()), **compiled), LearningRate(decay())
        fit(model, [schedule], steps_per_epoch=3)
        for step in (3, 4):
            model.train_on_batch(np.eye(STEPS, dtype="float32")[step : step + 1], np.zeros([1, 1]))
        own = {"fixed": [half(2)] * 2, "scheduled": 0.7 * 0.5 ** (np.array([3, 4]) / 3), "called": [0.7] * 2}[source]
        np.testing.assert_allclose(applied(model)[:5], [*half(np.arange(3)), *own], rtol=1e-6)
        fit(model, [schedule], batches(first=5))
        np.testing.assert_allclose(applied(model)[5:], half(np.arange(5, 10)), rtol=1e-6)

    @pytest.mark.parametrize("source", ["fixed", "scheduled"])
    @pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end"])
    def test_error_leaves_nothing_behind(self, source, hook):
        def stop(model):
            raise KeyboardInterrupt

        model = linear(keras.optimizers.SGD(SOURCES[source]()), **GRAPH)
        with pytest.raises(KeyboardInterrupt):
            fit(model, [LearningRate(decay()), Calls(hook, stop)], steps_per_epoch=1)
        history = fit(model, [], batches(first=1)).history
        own = np.full(9, half(0)) if source == "fixed" else 0.7 * 0.5 ** (np.arange(1, 10) / 3)
        np.testing.assert_allclose(applied(model)[1:], own, rtol=1e-6)
        assert [*history] == ["loss"]
        again = linear(keras.optimizers.SGD(SOURCES[source]()), **GRAPH)
        with pytest.raises(KeyboardInterrupt):
            fit(again, [LearningRate(decay()), Calls(hook, stop)], steps_per_epoch=1)
        fit(again, [LearningRate(half)], batches(first=1))
        np.testing.assert_allclose(applied(again), half(np.arange(STEPS)), rtol=1e-6)

    def test_error_inside_of_a_step_gives_the_schedule_back(self):
        def interrupted():
            yield np.eye(STEPS, dtype="float32")[:1], np.zeros([1, 1], "float32")
            raise KeyboardInterrupt

        own = SOURCES["scheduled"]()
        model = linear(keras.optimizers.SGD(own), run_eagerly=True)
        with pytest.raises((KeyboardInterrupt, tf.errors.OpError)):
            fit(model, [LearningRate(half)], interrupted())
        assert float(model.optimizer.learning_rate) == pytest.approx(float(own(model.optimizer.iterations)))

    def test_second_training_does_not_trace_again(self):
        schedule = Traced(half(np.arange(STEPS)))
        model, callback = linear(**GRAPH), LearningRate(schedule)
        fit(model, [callback], steps_per_epoch=4)
        fit(model, [callback], batches(first=4), epochs=2, steps_per_epoch=3)
        assert schedule.traces == 1
        np.testing.assert_allclose(applied(model), half(np.arange(STEPS)), rtol=1e-6)

    def test_model_that_is_compiled_again(self):
        model, callback = linear(**GRAPH), LearningRate(half)
        fit(model, [callback], steps_per_epoch=4)
        model.compile(keras.optimizers.SGD(SOURCES["scheduled"]()), loss=Output(), steps_per_execution=3, **GRAPH)
        fit(model, [callback], batches(first=4))
        np.testing.assert_allclose(applied(model), [*half(np.arange(4)), *half(np.arange(6))], rtol=1e-6)

    def test_training_function_that_is_made_again_in_training(self):
        model = linear(**GRAPH)
        again = Calls("on_train_batch_end", lambda model: model.make_train_function(force=True), at=3)
        fit(model, [again, LearningRate(half)])
        np.testing.assert_allclose(applied(model), half(np.arange(STEPS)), rtol=1e-6)
        assert model.train_on_batch(np.eye(STEPS)[:1], np.zeros([1, 1]), return_dict=True).keys() == {"loss"}

    def test_batch_that_another_callback_trains_on(self):
        model = linear(keras.optimizers.SGD(SOURCES["scheduled"]()), run_eagerly=True)
        x = np.eye(STEPS, dtype="float32")[9:]
        other = Calls("on_train_batch_end", lambda model: model.train_on_batch(x, np.zeros([1, 1])), at=2)
        fit(model, [other, LearningRate(half)], steps_per_epoch=5)
        np.testing.assert_allclose(applied(model)[:5], half(np.array([0, 1, 2, 4, 5])), rtol=1e-6)
        np.testing.assert_allclose(applied(model)[9], 0.7 * 0.5 ** (3 / 3), rtol=1e-6)


class TestSaving:
    @pytest.mark.parametrize("source", SOURCES)
    def test_saved_optimizer_is_that_without_the_callback(self, source):
        model, watcher = linear(keras.optimizers.SGD(SOURCES[source](), momentum=0.9), run_eagerly=True), Watcher()
        model.optimizer.build(model.trainable_variables)
        expected = model.optimizer.get_config()["learning_rate"], len(model.optimizer.variables)
        fit(model, [LearningRate(half), watcher])
        for (rate, variables), step in zip(watcher.saved, range(STEPS), strict=True):
            assert variables == expected[1]
            assert rate == (pytest.approx(half(step)) if source == "fixed" else expected[0])

    @pytest.mark.parametrize("source", ["fixed", "scheduled"])
    @pytest.mark.parametrize("way", ["model", "weights"])
    def test_resumes_from_a_file(self, source, way, tmp_path):
        model = linear(keras.optimizers.SGD(SOURCES[source](), momentum=0.5), run_eagerly=True)
        path = tmp_path / ("part.keras" if way == "model" else "part.weights.h5")
        save = Calls(
            "on_train_batch_end", lambda model: model.save(path) if way == "model" else model.save_weights(path), 3
        )
        fit(model, [LearningRate(decay(), warmup_steps=6), save])
        if way == "model":
            again = keras.saving.load_model(path)
        else:
            again = linear(keras.optimizers.SGD(SOURCES[source](), momentum=0.5))
            again.optimizer.build(again.trainable_variables)
            again.load_weights(path)
        again.run_eagerly = True
        assert again.optimizer.iterations.numpy() == 4
        fit(again, [LearningRate(decay(), warmup_steps=6)], batches(first=4))
        np.testing.assert_array_equal(applied(again), applied(model))

    @pytest.mark.parametrize("source", ["fixed", "scheduled"])
    @pytest.mark.parametrize("last", [True, False], ids=["listed last", "listed first"])
    @pytest.mark.parametrize("by", ["step", "epoch"])
    def test_resumes_from_a_backup(self, source, last, by, tmp_path):
        def stop(model):
            raise KeyboardInterrupt

        rates = []
        for interrupted in (True, False):
            model = linear(keras.optimizers.SGD(SOURCES[source]()), run_eagerly=True)
            callbacks = [LearningRate(half, by=by, warmup_steps=3)]
            callbacks.insert(0 if last else 1, keras.callbacks.BackupAndRestore(tmp_path / "backup"))
            if interrupted:
                with pytest.raises(KeyboardInterrupt):
                    fit(model, [*callbacks, Calls("on_epoch_begin", stop, at=1)], epochs=2, steps_per_epoch=5)
            else:
                fit(model, callbacks, batches(first=5), epochs=2, steps_per_epoch=5)
            rates.append(applied(model))
        warm = np.minimum((np.arange(STEPS) + 1) / 3, 1)
        numbers = np.arange(STEPS) if by == "step" else np.arange(STEPS) // 5
        np.testing.assert_allclose(rates[1], half(numbers) * warm, rtol=1e-6)
        np.testing.assert_array_equal(rates[0][:5], rates[1][:5])
        assert not rates[0][5:].any()


class TestFactor:
    @pytest.mark.parametrize("by", ["step", "epoch"])
    def test_lowers_the_rate_in_training_without_retracing(self, by):
        schedule = Traced(half(np.arange(STEPS)))
        callback = LearningRate(schedule if by == "step" else half, by=by)

        def lower(model):
            callback.factor = callback.factor / 4

        model = linear(steps_per_execution=2, **GRAPH)
        fit(model, [callback, Calls("on_train_batch_end", lower, at=3), Calls("on_train_batch_end", lower, at=7)])
        expected = (half(np.arange(STEPS)) if by == "step" else 0.4) / np.repeat([1, 4, 16], [4, 4, 2])
        np.testing.assert_allclose(applied(model), expected, rtol=1e-6)
        assert callback.factor == 1 / 16 and schedule.traces == (by == "step")

    def test_holds_before_the_training_and_on_replicas(self):
        callback = LearningRate(0.4)
        callback.factor = 0.5
        with strategy_of(2).scope():
            model = linear(**GRAPH)
        stop = Calls("on_train_batch_end", lambda model: setattr(callback, "factor", 0.0), at=6)
        fit(model, [stop, callback], batches(copies=2))
        np.testing.assert_allclose(applied(model), np.repeat([0.2, 0.0], [7, 3]), rtol=1e-6)

    @pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", None, True])
    def test_out_of_range(self, value):
        with pytest.raises(ValueError, match=r"`factor` must be a number in \[0, inf\). Received: factor="):
            LearningRate(0.1).factor = value


def by_hand(model):
    source = model.optimizer.learning_rate
    model.optimizer.learning_rate = 0.05 if isinstance(source, keras.Variable) else KERAS.ExponentialDecay(0.05, 1, 1.0)


class TestFights:
    @pytest.mark.parametrize(
        "compiled", [GRAPH, {"jit_compile": True}, {"run_eagerly": True}], ids=["graph", "xla", "eager"]
    )
    def test_two_of_ours(self, compiled):
        model = linear(**compiled)
        pattern = r"Only one `kc.callbacks.LearningRate`.*\[LearningRate\(0.25, .*\), LearningRate\(0.125, .*\)\]"
        with pytest.raises(ValueError, match=pattern):
            fit(model, [LearningRate(0.25), LearningRate(0.125)])
        assert not applied(model).any()
        same = LearningRate(0.25)
        with pytest.raises(ValueError, match="Only one `kc.callbacks.LearningRate`"):
            fit(model, [same, same])
        fit(model, [same])
        np.testing.assert_allclose(applied(model), 0.25)

    @pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
    @pytest.mark.parametrize("compiled", [{"jit_compile": True}, {"run_eagerly": True}], ids=["xla", "eager"])
    def test_learning_rate_scheduler_of_keras(self, first, compiled):
        model = linear(**compiled)
        callbacks = [LearningRate(0.25), keras.callbacks.LearningRateScheduler(lambda epoch: 0.5)]
        with pytest.raises(
            ValueError,
            match=r"beside `LearningRate\(0.25, .* `keras.callbacks.LearningRateScheduler`.*"
            r"Received: learning_rate=0.5 after update 0, where it was 0.",
        ):
            fit(model, callbacks[:: -1 if first else 1])
        assert not applied(model).any()

    @pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
    def test_reduction_on_plateau(self, first):
        model = linear(run_eagerly=True)
        callbacks = [LearningRate(0.25), keras.callbacks.ReduceLROnPlateau("learning_rate", mode="min", patience=1)]
        with pytest.raises(
            ValueError, match="`keras.callbacks.ReduceLROnPlateau`.*learning_rate=0.02.*where it was 0.25"
        ):
            fit(model, callbacks[:: -1 if first else 1], epochs=5, steps_per_epoch=2)
        np.testing.assert_allclose(applied(model), np.repeat([0.25, 0.0], [4, 6]))

    @pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
    @pytest.mark.parametrize("source", ["fixed", "scheduled"])
    @pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end"])
    def test_by_hand(self, source, first, hook):
        model = linear(keras.optimizers.SGD(SOURCES[source]()), jit_compile=True)
        callbacks = [LearningRate(half), Calls(hook, by_hand, at=2)]
        with pytest.raises(
            ValueError, match=r"`optimizer.learning_rate` in a callback of your own.*Received: learning_rate="
        ):
            fit(model, callbacks[:: -1 if first else 1])
        done = 2 if hook == "on_train_batch_begin" else 3
        np.testing.assert_allclose(applied(model)[:done], half(np.arange(done)), rtol=1e-6)
        assert not applied(model)[done:].any()

    def test_state_that_is_restored_is_none(self, tmp_path):
        path, model = tmp_path / "part.weights.h5", linear(run_eagerly=True)
        save = Calls("on_train_batch_end", lambda model: model.save_weights(path), at=2)
        load = Calls("on_train_batch_end", lambda model: model.load_weights(path), at=6)
        fit(model, [save, load, LearningRate(half)])
        np.testing.assert_allclose(applied(model)[[0, 1, 2, 7, 8, 9]], half(np.arange(6)), rtol=1e-6)


class TestBadSchedule:
    @pytest.mark.parametrize("by", ["step", "epoch"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
    def test_is_refused_before_the_first_step(self, by, value):
        values = np.full(STEPS, 0.1)
        values[4] = value
        model = linear(run_eagerly=True)
        with pytest.raises(
            ValueError, match=rf"finite number of at least 0, a scalar, at every {by}. Received: schedule\(4\)="
        ):
            fit(
                model,
                [LearningRate(Traced(values), by=by)],
                batches(1).repeat(),
                epochs=5,
                steps_per_epoch=2 - (by == "epoch"),
            )
        assert not applied(model).any()

    @pytest.mark.parametrize("result", [None, "fast", [0.1, 0.2], np.ones([1]), float("nan"), -1.0], ids=repr)
    @pytest.mark.parametrize("by", ["step", "epoch"])
    def test_function_is_refused_before_the_step(self, result, by):
        model = linear(run_eagerly=True)
        with pytest.raises(
            ValueError, match=rf"`schedule` must give a finite number.*at every {by}. Received: schedule\(2\)="
        ):
            fit(
                model,
                [LearningRate(lambda number: result if number == 2 else 0.5, by=by)],
                epochs=3 if by == "epoch" else 1,
                steps_per_epoch=1 if by == "epoch" else None,
            )
        np.testing.assert_allclose(applied(model), np.repeat([0.5, 0.0], [2, 8]))
        fit(model, [], batches(first=2))

    @pytest.mark.parametrize(
        "compiled", [GRAPH, {"jit_compile": True}, {"run_eagerly": True}], ids=["graph", "xla", "eager"]
    )
    def test_value_that_was_not_looked_at_before_makes_no_update(self, compiled):
        values = np.full(100, 0.5)
        values[7] = float("nan")
        assert 7 not in np.linspace(0, 99, 16, dtype=int)
        model = linear(steps=100, **compiled)
        with pytest.raises(ValueError, match=r"at every step. Received: schedule\(7\)=.*nan"):
            fit(model, [LearningRate(Traced(values))], batches(100))
        np.testing.assert_allclose(applied(model), np.repeat([0.5, 0.0], [7, 93]))

    def test_is_told_at_the_end_of_an_execution_of_several_steps(self):
        values = np.full(100, 0.5)
        values[7] = -1.0
        model = linear(keras.optimizers.SGD(SOURCES["scheduled"]()), steps=100, steps_per_execution=4, **GRAPH)
        with pytest.raises(ValueError, match=r"Received: schedule\(7\)=.*-1.0"):
            fit(model, [LearningRate(Traced(values))], batches(100))
        assert applied(model)[7] == 0.0 and np.isfinite(applied(model)).all()
        assert float(model.optimizer.learning_rate) == pytest.approx(0.7 * 0.5 ** (8 / 3))


class TestBadInput:
    @pytest.mark.parametrize("schedule", [None, "cosine", [0.1], KERAS.CosineDecay], ids=repr)
    def test_schedule(self, schedule):
        with pytest.raises(
            TypeError, match="`schedule` must be a number, .* or a function of one integer. Received: schedule="
        ):
            LearningRate(schedule)

    @pytest.mark.parametrize("schedule", [-0.1, float("nan"), float("inf"), True])
    def test_number(self, schedule):
        with pytest.raises(ValueError, match=r"`schedule` must be a number in \[0, inf\). Received: schedule="):
            LearningRate(schedule)

    @pytest.mark.parametrize("by", ["batch", None, 1])
    def test_by(self, by):
        with pytest.raises(ValueError, match="`by` must be 'step' or 'epoch'. Received: by="):
            LearningRate(0.1, by=by)

    @pytest.mark.parametrize("steps", [-1, 1.5, "1", None, True])
    def test_warmup_steps(self, steps):
        with pytest.raises(
            ValueError, match="`warmup_steps` must be an integer of at least 0. Received: warmup_steps="
        ):
            LearningRate(0.1, warmup_steps=steps)

    def test_model_without_a_keras_optimizer(self):
        model = linear()
        model.optimizer = None
        with pytest.raises(TypeError, match="compiled with a Keras optimizer. Received: optimizer=None"):
            fit(model, [LearningRate(0.1)])
