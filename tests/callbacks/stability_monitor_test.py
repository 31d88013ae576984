"""What the monitor does about trouble, on trainings whose every step is known."""

import csv
import importlib.util
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency import watch
from keras_consistency.callbacks import GradientClipping, LearningRate, StabilityMonitor
from keras_consistency.stability import ADVICE, Detectors, Event
from tests.contracts import recipes
from tests.contracts.replicas_test import strategy_of

EAGER = {"run_eagerly": True}  # a few steps take less than a trace
BATCH = 4
# Keras's own callbacks convert variables in a way that NumPy 2 warns of.
OF_KERAS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Planned(Detectors):
    """Finds what it was told to, at the steps that it was told; remembers what it saw."""

    def __init__(self, plan=None):
        super().__init__()
        self.plan = plan or {}
        self.seen = []
        self.rewinds = []

    def update(self, step, record):
        self.seen.append((step, record))
        if step not in self.plan:
            return []
        cause = self.plan[step]
        return [Event(step, cause, "It was planned.", ADVICE[cause], "loss", record["loss"])]

    def update_epoch(self, step, logs):
        return []

    def missing(self):
        return {}

    def rewind(self, step):
        self.rewinds.append(step)


class States(keras.callbacks.Callback):
    """The state before each step, as the step finds it."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_batch_begin(self, batch, logs=None):
        self.found.append([array.copy() for array in recipes.state(self.model)])


def supervised(*, normalize=False, optimizer=None, compiled=EAGER):
    """A model without consistency, with an average."""
    network = recipes.student(normalize=normalize)
    model = kc.ConsistencyModel(network, [], teacher=kc.teachers.EMA(decay=0.9, targets_from="student"))
    model.compile(keras.optimizers.SGD(0.1) if optimizer is None else optimizer, loss=recipes.LOSS, **compiled)
    return model


def data(steps, spoilt=None, *, only=None):
    """Batches of a training, those of some steps, from 1, multiplied by a number; only some of them where given."""
    x, y = recipes.examples(steps * BATCH)
    x, y = x.reshape([steps, BATCH, -1]), y.reshape([steps, BATCH])
    for step, factor in (spoilt or {}).items():
        x[step - 1] *= factor
    chosen = np.arange(steps) if only is None else np.asarray(only) - 1
    return tf.data.Dataset.from_tensor_slices((x[chosen], y[chosen]))


def fit(model, batches, *callbacks, **options):
    return model.fit(batches, verbose=0, shuffle=False, callbacks=list(callbacks), **options).history


def monitor(react="warn", *, plan=None, every=5, **options):
    return StabilityMonitor(react=react, detectors=Planned(plan), every=every, **({"verbose": 0} | options))


def assert_same(states, expected):
    for ours, theirs in zip(states, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def finite(model):
    return all(np.isfinite(array).all() for array in recipes.state(model))


def test_a_warning_is_told_logged_and_changes_nothing(tmp_path, capsys):
    watched, plain, path = supervised(), supervised(), tmp_path / "events.jsonl"
    path.write_text('{"earlier": 1}\n')
    found = monitor(plan={3: "loss_spike", 7: "collapse"}, path=path, verbose=1)
    fit(watched, data(8), found), fit(plain, data(8))
    assert_same(recipes.state(watched), recipes.state(plain))
    assert [(event["step"], event["cause"], event["actions"]) for event in found.events] == [
        (3, "loss_spike", []),
        (7, "collapse", []),
    ]
    assert found.events[0].keys() == {"epoch", "step", "cause", "evidence", "advice", "signal", "value", "actions"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"earlier": 1}, *found.events]
    assert f"Step 3: loss spike. It was planned. {ADVICE['loss_spike']}" in capsys.readouterr().out
    assert [step for step, _ in found.detectors.seen] == list(range(1, 9))


def test_only_the_causes_that_are_named_are_acted_on():
    model = supervised()
    found = monitor({"loss_spike": ["lower_rate", "stop"]}, plan={2: "collapse", 6: "loss_spike", 9: "loss_spike"})
    fit(model, data(30), found)
    assert [event["actions"] for event in found.events] == [
        [],
        ["learning rate times 0.5, now 0.05", "training stopped"],
    ]
    assert model.optimizer.iterations == 11  # read after 10, and the step that follows
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


def test_the_rate_of_a_schedule_is_lowered_by_its_callback():
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(logs["learning_rate"])

    found, rate = monitor("lower_rate", plan={2: "plateau"}, factor=0.25), LearningRate(lambda step: 0.1 + 0.1 * step)
    fit(supervised(), data(8), found, rate, Rates())
    np.testing.assert_allclose(rates, 0.1 * np.arange(1, 9) * np.where(np.arange(8) < 5, 1.0, 0.25), rtol=1e-5)
    assert found.events[0]["actions"] == ["learning rate times 0.25, its factor now 0.25"]


def test_clipping_is_tightened():
    clip, found = GradientClipping(global_clipnorm=2.0), monitor("tighten_clip", plan={4: "exploding_gradient"})
    fit(supervised(), data(6), found, clip)
    assert float(clip.clipping.bound) == 1.0
    assert found.events[0]["actions"] == ["clipping bound times 0.5, now 1"]


def test_a_rollback_restores_the_point_before_the_onset():
    model = supervised(normalize=True, optimizer=keras.optimizers.Adam(0.01))
    found, states = monitor("roll_back", plan={33: "loss_spike"}, snapshot_every=10), States()
    fit(model, data(45), found, states)
    # Points are 0, 10, 20 and 30; what is seen at 33 may have begun 10 steps before.
    assert found.events[0]["actions"] == ["rolled back to step 20; learning rate times 0.5, now 0.005"]
    assert_same(states.found[35], states.found[20])
    assert any(np.any(a != b) for a, b in zip(states.found[36], states.found[35], strict=True))
    assert model.optimizer.iterations == 45 and float(model.optimizer.learning_rate) == pytest.approx(0.005)
    # The detectors forget what was undone, and are not shown the rest of it.
    assert found.detectors.rewinds == [0, 20]
    assert [step for step, _ in found.detectors.seen] == [*range(1, 34), *range(36, 46)]


def test_trouble_that_returns_leads_farther_back_and_at_last_to_a_stop():
    model, states = supervised(), States()
    found = monitor("roll_back", plan=dict.fromkeys((33, 38, 43), "loss_spike"), snapshot_every=10, max_rollbacks=2)
    fit(model, data(60), found, states)
    assert [event["actions"][0].partition(";")[0] for event in found.events] == [
        "rolled back to step 20",
        "rolled back to step 0",
        "training stopped, after 2 rollbacks",
    ]
    assert_same(states.found[40], states.found[0])
    assert model.optimizer.iterations == 46


def test_one_rollback_undoes_all_that_is_found_in_a_step():
    class Twice(Planned):
        def update(self, step, record):
            return super().update(step, record) * 2

    found = StabilityMonitor(react="roll_back", detectors=Twice({7: "loss_spike"}), every=5, verbose=0)
    fit(supervised(), data(12), found)
    assert [len(event["actions"]) for event in found.events] == [1, 0]


@pytest.mark.parametrize("react", ["skip", "roll_back"])
def test_bad_batches_are_left_out_also_in_a_row(react):
    bad = {6: np.nan, 13: np.inf, 14: np.nan, 15: np.nan, **dict.fromkeys(range(18, 30), np.nan)}
    model, plain, found = supervised(normalize=True), supervised(normalize=True), monitor(react)
    history = fit(model, data(36, bad), found)
    fit(plain, data(36, only=[step for step in range(1, 37) if step not in bad]))
    for ours, theirs in zip(model.student.get_weights(), plain.student.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert finite(model)
    assert np.isfinite(history["loss"]).all()
    assert [event["step"] for event in found.events] == list(bad)
    assert {event["cause"] for event in found.events} == {"not_finite"}
    # Bad inputs are no fault of the model's, however many.
    assert all(event["actions"] == ["the batch was left out"] for event in found.events)
    assert [step for step, _ in found.detectors.seen] == [step for step in range(1, 37) if step not in bad]


def test_what_is_usual_is_learnt_anew_where_all_is_unusual(capsys):
    model, found = supervised(normalize=True), monitor("skip", verbose=1)
    fit(model, data(60, {**dict.fromkeys([31], 1e6), **dict.fromkeys(range(36, 61), 1e3)}), found)
    assert [event["step"] for event in found.events] == [31, *range(36, 46)]
    assert {event["cause"] for event in found.events} == {"exploding_gradient"}
    assert found.events[0]["signal"] in ("gradient_norm", "statistics_change")
    assert "It is the 10th of these on end." in found.events[-1]["evidence"]
    assert "Step 45: what is usual is learnt anew." in capsys.readouterr().out
    assert finite(model)


def regression(steps, bad):
    x, _ = recipes.examples(steps * BATCH)
    y = x[:, :1].copy()
    y = y.reshape([steps, BATCH, 1])
    y[[step - 1 for step in bad], 0] = np.nan
    return tf.data.Dataset.from_tensor_slices((x.reshape([steps, BATCH, -1]), y))


def test_labels_that_are_not_finite_are_left_out_and_in_a_row_lead_back():
    network = keras.Sequential([keras.Input([recipes.FEATURES]), keras.layers.Dense(1)])
    model = kc.ConsistencyModel(network, [], teacher=kc.teachers.EMA(decay=0.9, targets_from="student"))
    model.compile(keras.optimizers.SGD(0.01), loss="mse", **EAGER)
    found = monitor("roll_back", snapshot_every=10)
    fit(model, regression(40, [4, *range(21, 31)]), found)
    assert finite(model)
    actions = [event["actions"] for event in found.events]
    assert actions[:-1] == [["the batch was left out"]] * 10
    assert actions[-1][0] == "the batch was left out" and actions[-1][1].startswith("rolled back to step 20;")


@keras.saving.register_keras_serializable(package="stability_monitor_test")
class Logarithm(keras.layers.Layer):
    """NaN for negative inputs, zero else."""

    def call(self, inputs):
        return inputs + 0.0 * tf.math.log(inputs + 50.0)


@pytest.mark.parametrize("name", ["mean_teacher", "freematch"])
def test_views_that_are_not_finite_never_reach_the_teacher(name):
    model = recipes.model(name, weak=Logarithm(), compiled=EAGER)

    def spoil(number, batch):
        inputs, y = batch
        return inputs | {"unlabeled": inputs["unlabeled"] - tf.where(number % 4 == 1, 100.0, 0.0)}, y

    found = monitor("skip")
    fit(model, recipes.batches().repeat(2).enumerate().map(spoil), found)
    assert finite(model)
    assert [event["step"] for event in found.events] == [2, 6]


def network(**compiled):
    model = recipes.student()
    model.compile(keras.optimizers.SGD(0.1), loss=recipes.LOSS, **compiled)
    return model


@pytest.mark.parametrize("options", [EAGER, {"steps_per_execution": 2}])
def test_of_any_keras_model_the_loss_of_each_step_is_seen(options):
    expected, plain = [], network(**EAGER)
    for _ in range(2):
        for x, y in data(5):
            plain.reset_metrics()
            expected.append(plain.train_on_batch(x, y))
    model, found = network(**options), monitor(plan={2: "loss_spike", 8: "loss_spike"})
    history = fit(model, data(5), found, epochs=2, validation_data=data(2))
    seen = [(step, record["loss"]) for step, record in found.detectors.seen]
    if options is EAGER:
        np.testing.assert_allclose([loss for _, loss in seen], expected, rtol=1e-5)
        assert [step for step, _ in seen] == list(range(1, 11))
        assert [event["epoch"] for event in found.events] == [0, 1]
    else:  # An execution is seen as one.
        means = [np.mean(part) for epoch in (expected[:5], expected[5:]) for part in (epoch[:2], epoch[2:4], epoch[4:])]
        np.testing.assert_allclose([loss for _, loss in seen], means, rtol=1e-5)
        assert [step for step, _ in seen] == [2, 4, 5, 7, 9, 10]
    assert history.keys() == {"loss", "val_loss"}


def test_a_model_that_keeps_no_loss_is_seen_by_its_logs():
    class Own(keras.Model):
        def train_step(self, data):
            return {"loss": tf.reduce_mean(self(data[0])) * 0.0 + 3.0, "own": 1.0}

        def call(self, inputs):
            return inputs

    model, found = Own(), monitor()
    model.compile(keras.optimizers.SGD(0.1), **EAGER)
    fit(model, data(4), found, epochs=2)
    assert found.detectors.seen == [(4, {"loss": 3.0, "finite": 1.0}), (8, {"loss": 3.0, "finite": 1.0})]


def test_what_cannot_be_seen_is_said_once(capsys):
    model, found = network(**EAGER), StabilityMonitor()
    fit(model, data(3), found, epochs=2)
    fit(model, data(3), found)
    out = capsys.readouterr().out
    assert out.count("`overfitting` cannot be found without validation data.") == 1
    assert out.count("`collapse` cannot be found") == 1 and "plateau" not in out
    fit(supervised(), data(3), StabilityMonitor(), validation_data=data(2))
    assert "cannot" not in capsys.readouterr().out


def test_executions_of_several_steps():
    bad = {9: np.nan}
    model, one = supervised(compiled={"steps_per_execution": 4}), supervised()
    found, other = monitor("roll_back", plan={14: "loss_spike"}, snapshot_every=4), monitor("skip")
    fit(model, data(22, bad), found), fit(one, data(22, bad), other)
    assert [(event["step"], event["cause"]) for event in found.events] == [(9, "not_finite"), (14, "loss_spike")]
    assert found.events[1]["actions"][0].startswith("rolled back to step 8;")
    assert [step for step, _ in other.detectors.seen] == [step for step in range(1, 23) if step != 9]


def test_two_replicas_skip_and_roll_back_together():
    with strategy_of(2).scope():
        model = recipes.model("fixmatch", compiled={"jit_compile": False})
        batches = recipes.batches().repeat(4)

    def spoil(number, batch):
        inputs, y = batch
        return inputs | {"labeled": inputs["labeled"] * tf.where(number == 3, np.float32(np.nan), 1.0)}, y

    found = monitor("roll_back", plan={11: "collapse"}, every=4, snapshot_every=4)
    fit(model, batches.enumerate().map(spoil), found)
    assert [event["step"] for event in found.events] == [4, 11]
    assert found.events[1]["actions"][0].startswith("rolled back to step 4;")
    assert finite(model)
    for variable in model.student.weights:
        one, other = strategy_of(2).experimental_local_results(variable.value)
        np.testing.assert_array_equal(one, other)


def test_float16_rolls_back_with_its_loss_scale():
    keras.config.set_dtype_policy("mixed_float16")
    model = supervised(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**6))
    found, states = monitor("roll_back", plan={13: "loss_spike"}, snapshot_every=5), States()
    fit(model, data(18, {3: np.nan}), found, states)
    assert [event["actions"][-1].partition(";")[0] for event in found.events] == [
        "the batch was left out",
        "rolled back to step 5",
    ]
    assert_same(states.found[15], states.found[5])
    assert float(model.optimizer.inner_optimizer.learning_rate) == pytest.approx(0.05)


def test_a_second_training_goes_on_and_another_model_begins_anew():
    model, found = supervised(), monitor("roll_back", plan={3: "plateau", 18: "plateau"}, snapshot_every=5)
    fit(model, data(8), found), fit(model, data(12), found)
    assert [step for step, _ in found.detectors.seen if step <= 18] == [1, 2, 3, *range(6, 19)]
    assert [event["step"] for event in found.events] == [3, 18]
    assert found.events[1]["actions"][0].startswith("rolled back to step 13;")  # 8, and 5
    assert found.detectors.rewinds == [0, 0, 13]
    fit(supervised(), data(4), found)
    assert [event["step"] for event in found.events] == [3]
    assert found.detectors.rewinds[-2:] == [0, 0]


@OF_KERAS
def test_other_logs_are_as_ever(tmp_path):
    found = []
    for callbacks in ([], [StabilityMonitor(react="skip", verbose=0)]):
        model = supervised()
        folder = tmp_path / str(len(callbacks))
        loggers = [keras.callbacks.CSVLogger(folder.with_suffix(".csv"))]
        if importlib.util.find_spec("tensorboard"):
            loggers.append(keras.callbacks.TensorBoard(folder))
        history = fit(model, data(4), *callbacks, *loggers, epochs=2, validation_data=data(2))
        with folder.with_suffix(".csv").open() as file:
            found.append((history, list(csv.DictReader(file)), len(list(folder.rglob("*tfevents*")))))
    assert found[0] == found[1] and len(found[0][1]) == 2


def test_afterwards_the_model_is_as_before():
    model, found = supervised(), monitor("roll_back", plan={2: "plateau"})
    variables = [variable.name for variable in model.variables]
    fit(model, data(4), found)
    assert model.watch is None and [variable.name for variable in model.variables] == variables
    with pytest.raises(ValueError, match="must be finite"):  # as without a monitor
        fit(model, data(2, {1: np.nan}))
    assert len(found.events) == 1


def test_the_device_is_asked_once_in_several_steps(monkeypatch):
    asked = []
    read = watch.Watch.read
    monkeypatch.setattr(watch.Watch, "read", lambda self, since: asked.append(since) or read(self, since))
    fit(supervised(), data(23), StabilityMonitor(react="skip", every=10, verbose=0), epochs=1)
    assert asked == [0, 10, 20]
    # A callback that listens to the ends of batches has Keras fetch the logs of each.
    assert StabilityMonitor.on_train_batch_end is keras.callbacks.Callback.on_train_batch_end


def test_several_callbacks_share_one_watch():
    model = supervised()
    watch.watch(model, length=100, skip=False)
    found = monitor("skip")
    keras.callbacks.CallbackList([found], model=model)
    watch.watch(model, length=200, skip=False)
    assert model.watch.length == 200 and model.watch.skip
    same = model.watch
    assert watch.watch(model, length=3, skip=True) is same
    fit(model, data(6, {2: np.nan}), found)
    assert [event["step"] for event in found.events] == [2]


def test_a_rate_that_is_too_high_for_a_step_is_undone():
    """With the detectors' own eyes: what no skipped batch can help, as the weights are gone."""

    class Spike(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 150:
                self.model.optimizer.learning_rate = 1e4

        def on_train_batch_end(self, batch, logs=None):
            if batch == 150:
                self.model.optimizer.learning_rate = 0.1

    losses = []
    for callbacks in ([], [StabilityMonitor(react="roll_back", snapshot_every=50, verbose=0)]):
        model = supervised(compiled={"jit_compile": False})
        fit(model, data(300), Spike(), *callbacks)
        losses.append(model.evaluate(data(50), verbose=0))
    (found,) = callbacks
    back = [what for event in found.events for what in event["actions"] if what.startswith("rolled back")]
    assert back and back[0].startswith("rolled back to step 100;")
    assert losses[0] > 10.0 and losses[1] < 0.8


BAD = [
    ({"react": "flee"}, r"`react` must name actions of .*Received: \('flee',\) for 'default'"),
    ({"react": []}, r"`react` must name actions of .*Received: \[\] for 'default'"),
    ({"react": [["stop"]]}, "`react` must name actions"),
    ({"react": 3}, "`react` must name actions"),
    ({"react": {"fire": "stop"}}, r"`react` must name causes of .*Received: \['fire'\]"),
    ({"react": {"plateau": "flee"}}, "for 'plateau'"),
    ({"every": 0}, "`every` must be an integer of at least 1"),
    ({"snapshot_every": 0}, "`snapshot_every` must be an integer of at least 1"),
    ({"factor": 1.0}, "`factor` must be"),
    ({"factor": 0.0}, "`factor` must be"),
    ({"skip_above": 1.0}, "`skip_above` must be"),
    ({"max_rollbacks": -1}, "`max_rollbacks` must be an integer of at least 0"),
    ({"detectors": 3}, "`detectors` must be a `kc.stability.Detectors` or None. Received: detectors=3"),
    ({"verbose": 2}, "`verbose` must be 0 or 1. Received: verbose=2"),
    ({"path": "/no/such/folder/events"}, "`path` must be a file that can be written, .*No such file"),
    ({"path": "/"}, "`path` must be a file that can be written"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_arguments_are_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        StabilityMonitor(**options)


def scheduled():
    return supervised(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)))


@pytest.mark.parametrize(
    ("build", "reactions", "message"),
    [
        (lambda: network(**EAGER), ["skip"], r"`react` may name \['skip'\] for a `kc.ConsistencyModel` only"),
        (lambda: network(**EAGER), [{"plateau": ["roll_back"]}], r"\['roll_back'\] .* Received: a Sequential"),
        (supervised, ["tighten_clip"], "nothing is clipped: pass `kc.callbacks.GradientClipping"),
        (scheduled, ["lower_rate"], "the optimizer follows a schedule.*Received: learning_rate=<"),
        (scheduled, ["roll_back"], "give the schedule to `kc.callbacks.LearningRate` instead"),
        (supervised, ["warn", "skip"], "Two `kc.callbacks.StabilityMonitor`s watch one training"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_first_step(build, reactions, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        fit(model, data(2), *(monitor(react) for react in reactions))
    assert model.optimizer.iterations == 0
    assert getattr(model, "watch", None) is None
    fit(model, data(2), monitor("stop"))  # and nothing is left of it


def test_a_model_that_is_not_compiled_is_refused_as_by_keras():
    model = kc.ConsistencyModel(recipes.student(), [])
    with pytest.raises(ValueError, match="call `compile"):
        fit(model, data(2), monitor())


def test_a_log_that_can_no_longer_be_written_stops_no_training(tmp_path):
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "events.jsonl"
    found = monitor(plan={2: "plateau", 3: "collapse"}, path=path)
    path.unlink()
    path.parent.rmdir()
    model = supervised()
    with pytest.warns(UserWarning, match="Events are no longer written to .*events.jsonl") as warned:
        fit(model, data(4), found)
    assert len(warned) == 1 and len(found.events) == 2 and model.optimizer.iterations == 4


def test_values_that_are_not_finite_are_valid_json(tmp_path):
    found = monitor("skip", path=tmp_path / "events.jsonl", every=1)
    network = keras.Sequential([keras.Input([recipes.FEATURES]), keras.layers.Dense(1)])
    model = kc.ConsistencyModel(network, [])
    model.compile(keras.optimizers.SGD(0.01), loss="mse", **EAGER)
    fit(model, regression(3, [2]), found)
    assert math.isnan(found.events[0]["value"])
    assert json.loads((tmp_path / "events.jsonl").read_text(), parse_constant=pytest.fail)["value"] is None
