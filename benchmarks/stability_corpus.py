"""Records the real trainings of the corpus that `benchmarks.stability` judges the detectors on.

    python -m benchmarks.stability_corpus

Small networks learn scikit-learn's digits and mnist5k, well and badly: each trouble is brought about at a known step.
Every step's record is taken after its update. Written is `benchmarks/stability_corpus.npz`: of each training the
records of its steps `[steps, signals]`, the logs of its epochs, and, as JSON, what went wrong from which step on. It
takes a few minutes on two cores; `--only` names trainings to record anew, the others stay as they are.
"""

import json
import os
import pathlib

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import keras_consistency as kc  # noqa: E402

ONLY = flags.DEFINE_list("only", [], "Names of trainings to record; all by default.")
OUTPUT = pathlib.Path(__file__).parent / "stability_corpus.npz"
FROM_LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Recorder:
    """A network that is trained step by step, and what each step showed.

    Args:
        network: a Keras model of logits, trained on labels with `loss`; or a `kc.ConsistencyModel`.
        optimizer: a Keras optimizer.
        loss: of the labels.
    """

    def __init__(self, network, optimizer, loss=FROM_LOGITS):
        self.consistency = isinstance(network, kc.ConsistencyModel)
        if not self.consistency:
            network = Plain(network)
        self.network = network
        network.compile(optimizer, loss=loss, metrics=["accuracy"] if loss is FROM_LOGITS else [])
        self.student = network.student
        self.optimizer = optimizer
        self.records, self.epochs = [], []
        self._predict = tf.function(lambda x: self.student(x, training=False))
        self._weights = _flat(self.student)
        self._since = 0

    def step(self, x, y, unlabeled=None):
        """One step on a batch, and its record."""
        inputs = x if unlabeled is None else {"labeled": x, "unlabeled": unlabeled}
        self.network.reset_metrics()
        logs = self.network.train_on_batch(inputs, y, return_dict=True)
        record = {name: float(value) for name, value in logs.items() if name not in ("accuracy", "clip_rate")}
        record.pop("clipped_gradient_norm", None)
        weights = _flat(self.student)
        with np.errstate(all="ignore"):
            record["update_ratio"] = float(np.linalg.norm(weights - self._weights) / np.linalg.norm(self._weights))
            teacher = self.network.teacher.network if self.consistency else None
            if teacher is not None and teacher is not self.student:
                away = np.linalg.norm(_flat(teacher, self.student) - weights) / np.linalg.norm(weights)
                record["teacher_distance"] = float(away)
        self._weights = weights
        record["learning_rate"] = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        predicted = np.asarray(self._predict(x if unlabeled is None else unlabeled))
        if predicted.ndim == 2 and predicted.shape[1] > 1:
            record["top_class_share"] = float(np.bincount(predicted.argmax(axis=1)).max() / len(predicted))
        self.records.append(record)

    def epoch(self, x, y):
        """The logs of the epoch that ends here, with a validation."""
        self.network.reset_metrics()
        found = self.network.evaluate(x, y, batch_size=500, verbose=0, return_dict=True)
        logs = {f"val_{name}": float(found[name]) for name in ("loss", "accuracy") if name in found}
        logs["loss"] = float(np.mean([record["loss"] for record in self.records[self._since :]]))
        self._since = len(self.records)
        self.epochs.append((len(self.records), logs))


class Plain(keras.Model):
    """A network with the step of Keras, which returns the gradient's norm as well."""

    def __init__(self, student):
        super().__init__()
        self.student = student

    def call(self, x, training=False):
        return self.student(x, training=training)

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            answers = self.student(x, training=True)
            loss = self.compute_loss(x, y, answers)
        gradients = tape.gradient(loss, self.student.trainable_variables)
        self.optimizer.apply(gradients, self.student.trainable_variables)
        return {"loss": loss, "gradient_norm": tf.linalg.global_norm(gradients)}


def _flat(network, like=None):
    """What trains of a network as one vector; with `like`, that which trains of another network of the same layers."""
    return np.concatenate([np.asarray(weight).ravel() for weight in _trained(network, like)])


def _trained(network, like=None):
    like = like or network
    trained = {id(weight) for weight in like.trainable_weights}
    return [weight for weight, same in zip(network.weights, like.weights, strict=True) if id(same) in trained]


def _mlp(shape, outputs=10, widths=(64, 64), activation="relu", dropout=0.0, norm=False, last=None):
    layers = [keras.Input(shape), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    for width in widths:
        layers.append(keras.layers.Dense(width, activation=activation))
        layers += [keras.layers.BatchNormalization()] if norm else []
        layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(outputs, activation=last)])


def _cnn(shape, norm=False, dropout=0.0):
    layers = [keras.Input(shape), keras.layers.Rescaling(1 / 127.5, offset=-1)]
    for width in (8, 16):
        layers.append(keras.layers.Conv2D(width, 5, strides=2, padding="same", activation="relu"))
        layers += [keras.layers.BatchNormalization()] if norm else []
    layers += [keras.layers.Flatten()] + ([keras.layers.Dropout(dropout)] if dropout else [])
    return keras.Sequential([*layers, keras.layers.Dense(10)])


def _data(name):
    (x, y), (x_test, y_test) = kc.datasets.load(name)
    return x.astype("float32"), y.astype("int64"), x_test.astype("float32"), y_test.astype("int64")


def supervised(
    *,
    data="digits",
    make=None,
    optimizer=None,
    steps=800,
    batch=32,
    epoch=50,
    loss=FROM_LOGITS,
    prepare=None,
    shuffle=True,
    before=None,
    seed=0,
):
    """Trains on labels.

    Args:
        data: name of the data set.
        make: function of the shape of an example to the network.
        optimizer: function to an optimizer.
        steps, batch, epoch: number of steps, examples a step, steps an epoch.
        loss: of the labels.
        prepare: function of training and test arrays and a generator to those to use.
        shuffle: whether the examples of a step are drawn, rather than taken in turn.
        before: function `(step, recorder, x, y)` to the batch of a step, called before it.
        seed: of weights and draws.
    """
    keras.utils.set_random_seed(seed)
    numbers = np.random.default_rng(seed)
    arrays = _data(data)
    x, y, x_test, y_test = arrays if prepare is None else prepare(*arrays, numbers)
    recorder = Recorder((make or _mlp)(x.shape[1:]), optimizer(), loss)
    for step in range(1, steps + 1):
        if shuffle:
            rows = numbers.choice(len(x), min(batch, len(x)), replace=False)
        else:
            rows = np.arange((step - 1) * batch, step * batch) % len(x)
        given = (x[rows], y[rows])
        recorder.step(*(before(step, recorder, *given) if before else given))
        if step % epoch == 0:
            recorder.epoch(x_test, y_test)
    return recorder


def consistent(recipe, *, make, optimizer, data="mnist5k", labels=40, steps=600, batch=16, epoch=100, before=None):
    """Trains a recipe on few labels and all examples without.

    Args:
        recipe: function of the student to the model.
        make, optimizer, data, steps, batch, epoch: as in `supervised`; three times `batch` examples have no label.
        labels: number of labels.
        before: function `(step, recorder, x, y, u)` to the batch of a step.
    """
    keras.utils.set_random_seed(0)
    numbers = np.random.default_rng(0)
    x, y, x_test, y_test = _data(data)
    chosen = kc.datasets.labeled_indices(y, labels // 10, seed=0)
    recorder = Recorder(recipe(make(x.shape[1:])), optimizer())
    for step in range(1, steps + 1):
        rows = chosen[numbers.choice(len(chosen), batch)]
        given = (x[rows], y[rows], x[numbers.choice(len(x), 3 * batch)])
        recorder.step(*(before(step, recorder, *given) if before else given))
        if step % epoch == 0:
            recorder.epoch(x_test, y_test)
    return recorder


def _sgd(rate, momentum=0.0):
    return lambda: keras.optimizers.SGD(rate, momentum=momentum)


def _adam(rate):
    return lambda: keras.optimizers.Adam(rate)


def _schedule(kind, *arguments, momentum=0.9, **options):
    return lambda: keras.optimizers.SGD(getattr(keras.optimizers.schedules, kind)(*arguments, **options), momentum)


def _recipe(name, **arguments):
    def make(student):
        return getattr(kc.recipes, name)(student, seed=0, **arguments, clipping=kc.Clipping(global_clipnorm=1e30))

    return make


def _weak():
    return kc.augment.image.weak(seed=0)


def _factor(rates):
    """`before` that sets the learning rate as a function of the step; `None` leaves it."""

    def before(step, recorder, *batch):
        rate = rates(step)
        if rate is not None:
            recorder.optimizer.learning_rate = rate
        return batch

    return before


def _inputs(steps, change):
    """`before` that changes the inputs of some steps."""
    return lambda step, recorder, x, *rest: (change(x) if step in steps else x, *rest)


def _few(count, wrong):
    """`prepare` that keeps so many examples, a share of them with a wrong label."""

    def prepare(x, y, x_test, y_test, numbers):
        rows = numbers.choice(len(x), count, replace=False)
        y = np.where(numbers.random(len(y)) < wrong, numbers.integers(0, 10, len(y)), y)
        return x[rows], y[rows], x_test, y_test

    return prepare


def _binary(rare):
    """`prepare` to a task of two classes, of which the second has a share of `rare`."""

    def prepare(x, y, x_test, y_test, numbers):
        keep = (y != 3) | (numbers.random(len(y)) < rare)
        return x[keep], (y[keep] == 3).astype("int64"), x_test, (y_test == 3).astype("int64")

    return prepare


def _one_hot(x, y, x_test, y_test, numbers):
    return x, np.eye(10, dtype="float32")[y], x_test, np.eye(10, dtype="float32")[y_test]


def _sums(x, y, x_test, y_test, numbers):
    return x, (1000.0 * y[:, None]).astype("float32"), x_test, (1000.0 * y_test[:, None]).astype("float32")


def _shuffled_labels(x, y, x_test, y_test, numbers):
    return x, numbers.permutation(y), x_test, y_test


def _noisy_teacher(start):
    """`before` that moves the teacher's weights by ever more noise from a step on."""
    numbers = np.random.default_rng(1)

    def before(step, recorder, *batch):
        if step >= start:
            for weight in _trained(recorder.network.teacher.network, recorder.student):
                value = np.asarray(weight)
                weight.assign(value + numbers.normal(size=value.shape) * 0.1 * (np.std(value) + 1e-3))
        return batch

    return before


def _one_class(start):
    """`before` that gives every image the label 1 from a step on, as a table of labels that broke does."""
    return lambda step, recorder, x, y, *rest: (x, np.ones_like(y) if step >= start else y, *rest)


# Name -> (cause or None, onset, other causes that name it as well, function to a `Recorder`). The onset is the number
# of the first step that is not as it should be; -1 where it is worked out from the history (`benchmarks.stability`).
TRAININGS = {
    "sgd": (None, 0, (), lambda: supervised(optimizer=_sgd(0.1, 0.9))),
    "sgd, small batches": (None, 0, (), lambda: supervised(optimizer=_sgd(0.05), batch=8, steps=1000, seed=1)),
    "adam": (None, 0, (), lambda: supervised(optimizer=_adam(1e-3))),
    "adam to the end": (None, 0, (), lambda: supervised(optimizer=_adam(3e-3), steps=2000, epoch=200, seed=2)),
    "adam, cosine, dropout, batch norm": (
        None,
        0,
        (),
        lambda: supervised(
            data="mnist5k",
            make=lambda shape: _cnn(shape, norm=True, dropout=0.3),
            optimizer=lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, 700)),
            steps=700,
            epoch=100,
        ),
    ),
    "warm-up and decay": (
        None,
        0,
        (),
        lambda: supervised(optimizer=_schedule("CosineDecay", 0.0, 700, warmup_target=0.2, warmup_steps=200)),
    ),
    "restarts": (
        None,
        0,
        (),
        lambda: supervised(
            optimizer=_schedule("CosineDecayRestarts", 0.1, 150, t_mul=1.5), steps=1000, seed=3, batch=16
        ),
    ),
    "cycles": (
        None,
        0,
        (),
        lambda: supervised(
            optimizer=_sgd(0.01, 0.9),
            before=_factor(lambda step: 0.02 + 0.08 * abs((step % 200) / 100 - 1)),
            steps=1000,
            seed=4,
        ),
    ),
    "dropout and label noise": (
        None,
        0,
        (),
        lambda: supervised(
            make=lambda shape: _mlp(shape, dropout=0.5, norm=True),
            optimizer=_schedule("CosineDecay", 0.1, 800),
            prepare=_few(1300, 0.2),
            seed=5,
        ),
    ),
    "regression of thousands": (
        None,
        0,
        (),
        lambda: supervised(
            make=lambda shape: _mlp(shape, outputs=1),
            optimizer=_adam(1e-2),
            loss="mean_squared_error",
            prepare=_sums,
            seed=6,
        ),
    ),
    "one class of two is rare": (
        None,
        0,
        (),
        lambda: supervised(
            make=lambda shape: _mlp(shape, outputs=2), optimizer=_adam(1e-3), prepare=_binary(0.3), seed=7
        ),
    ),
    "batches in turn": (
        None,
        0,
        (),
        lambda: supervised(optimizer=_sgd(0.05, 0.9), shuffle=False, batch=64, seed=8, prepare=_few(400, 0.0)),
    ),
    "sigmoids": (
        None,
        0,
        (),
        lambda: supervised(
            make=lambda shape: _mlp(shape, activation="sigmoid"), optimizer=_adam(3e-3), seed=9, steps=1000
        ),
    ),
    "fixmatch": (
        None,
        0,
        (),
        lambda: consistent(_recipe("fixmatch", weak=_weak()), make=_cnn, optimizer=_adam(2e-3), steps=700),
    ),
    "fixmatch, small threshold": (
        None,
        0,
        (),
        lambda: consistent(
            _recipe("fixmatch", weak=_weak(), threshold=0.7), make=_cnn, optimizer=_sgd(0.02, 0.9), labels=100
        ),
    ),
    "mean teacher": (
        None,
        0,
        (),
        lambda: consistent(
            _recipe("mean_teacher", weak=_weak(), ramp_up_steps=300),
            make=lambda shape: _cnn(shape, norm=True, dropout=0.2),
            optimizer=_adam(2e-3),
            labels=200,
        ),
    ),
    "mean teacher, sgd": (
        None,
        0,
        (),
        lambda: consistent(
            _recipe("mean_teacher", weak=_weak(), ramp_up_steps=200, ema=0.99, scale=10.0),
            make=lambda shape: _cnn(shape, dropout=0.3),
            optimizer=_sgd(0.02, 0.9),
            labels=100,
        ),
    ),
    "trades": (
        None,
        0,
        (),
        lambda: consistent(
            _recipe("trades", radius=0.1, step_size=0.05, steps=2),
            make=_cnn,
            optimizer=_adam(2e-3),
            labels=400,
            steps=500,
        ),
    ),
    "rate raised too far": (
        "loss_spike",
        300,
        ("exploding_gradient", "not_finite"),
        lambda: supervised(
            optimizer=_sgd(0.05, 0.9), before=_factor(lambda step: 5.0 if step == 300 else None), steps=600
        ),
    ),
    "rate of adam raised too far": (
        "loss_spike",
        300,
        ("exploding_gradient",),
        lambda: supervised(
            data="mnist5k",
            make=_cnn,
            optimizer=_adam(2e-3),
            before=_factor(lambda step: 0.3 if step == 300 else None),
            steps=500,
        ),
    ),
    "rate too high from the start": (
        "loss_spike",
        1,
        ("exploding_gradient", "not_finite", "oscillation"),
        lambda: supervised(optimizer=_sgd(20.0), steps=300),
    ),
    "warm-up to a rate too high": (
        "loss_spike",
        -1,
        ("exploding_gradient", "not_finite", "oscillation", "collapse"),
        lambda: supervised(
            optimizer=_schedule("CosineDecay", 0.0, 2000, warmup_target=8.0, warmup_steps=400), steps=600, seed=11
        ),
    ),
    "mean teacher, rate and scale too high": (
        "loss_spike",
        -1,
        ("oscillation", "teacher_divergence"),
        lambda: consistent(
            _recipe("mean_teacher", weak=_weak(), ramp_up_steps=200, ema=0.99),
            make=lambda shape: _cnn(shape, dropout=0.3),
            optimizer=_sgd(0.05, 0.9),
            labels=100,
        ),
    ),
    "labels mixed up from a step on": (
        "loss_spike",
        400,
        ("exploding_gradient",),
        lambda: supervised(
            optimizer=_adam(2e-3),
            before=lambda step, recorder, x, y: (x, (y + 1) % 10 if step >= 400 else y),
            steps=600,
            seed=12,
        ),
    ),
    "broken batches": (
        "exploding_gradient",
        350,
        ("loss_spike",),
        lambda: supervised(
            optimizer=_adam(1e-3), before=_inputs(range(350, 356), lambda x: 300.0 * x), steps=600, seed=13
        ),
    ),
    "one broken batch": (
        "exploding_gradient",
        250,
        ("loss_spike", "not_finite"),
        lambda: supervised(optimizer=_sgd(0.05, 0.9), before=_inputs([250], lambda x: 1e4 * x), steps=450, seed=14),
    ),
    "inputs no longer rescaled": (
        "exploding_gradient",
        300,
        ("loss_spike",),
        lambda: supervised(
            data="mnist5k",
            make=_cnn,
            optimizer=_adam(1e-3),
            before=_inputs(range(300, 10**6), lambda x: 255.0 * x),
            steps=450,
        ),
    ),
    "a batch with NaN": (
        "not_finite",
        300,
        (),
        lambda: supervised(optimizer=_adam(1e-3), before=_inputs([300], lambda x: x * np.nan), steps=400),
    ),
    "float32 overflows": (
        "not_finite",
        200,
        ("exploding_gradient", "loss_spike"),
        lambda: supervised(optimizer=_sgd(0.05, 0.9), before=_inputs([200], lambda x: x * 1e37), steps=300, seed=15),
    ),
    "few labels, many of them wrong": (
        "overfitting",
        -1,
        (),
        lambda: supervised(optimizer=_adam(2e-3), prepare=_few(100, 0.4), epoch=20, steps=800, seed=16),
    ),
    "wrong labels learned by heart": (
        "overfitting",
        -1,
        (),
        lambda: supervised(
            data="mnist5k", make=_cnn, optimizer=_adam(4e-3), prepare=_few(300, 0.3), epoch=20, steps=600, seed=17
        ),
    ),
    "wide network, few images": (
        "overfitting",
        -1,
        (),
        lambda: supervised(
            make=lambda shape: _mlp(shape, widths=(256,)),
            optimizer=_sgd(0.1, 0.9),
            prepare=_few(80, 0.25),
            epoch=20,
            steps=600,
            seed=18,
        ),
    ),
    "sigmoids saturated by a step": (
        "vanishing_gradient",
        300,
        ("loss_spike",),
        lambda: supervised(
            make=lambda shape: _mlp(shape, last="sigmoid"),
            optimizer=_sgd(0.5, 0.9),
            loss="mean_squared_error",
            prepare=_one_hot,
            before=_factor(lambda step: {300: 3e4, 301: 0.5}.get(step)),
            steps=600,
            seed=19,
        ),
    ),
    "dead outputs": (
        "vanishing_gradient",
        250,
        ("loss_spike",),
        lambda: supervised(
            make=lambda shape: _mlp(shape, last="relu"),
            optimizer=_sgd(0.2),
            loss="mean_squared_error",
            prepare=_one_hot,
            before=_factor(lambda step: {250: 1e4, 251: 0.2}.get(step)),
            steps=500,
            seed=20,
        ),
    ),
    "average of a student that diverges": (
        "teacher_divergence",
        300,
        ("loss_spike", "exploding_gradient", "not_finite"),
        lambda: consistent(
            _recipe("mean_teacher", weak=_weak(), ramp_up_steps=200),
            make=_cnn,
            optimizer=_adam(2e-3),
            labels=200,
            before=_factor(lambda step: 0.5 if step == 300 else None),
            steps=450,
        ),
    ),
    "teacher that drifts": (
        "teacher_divergence",
        350,
        (),
        lambda: consistent(
            _recipe("mean_teacher", weak=_weak(), ramp_up_steps=200),
            make=_cnn,
            optimizer=_adam(2e-3),
            labels=200,
            before=_noisy_teacher(350),
            steps=500,
        ),
    ),
    "labels of one class": (
        "collapse",
        300,
        ("loss_spike", "exploding_gradient"),
        lambda: consistent(
            _recipe("fixmatch", weak=_weak(), threshold=0.5, scale=2.0),
            make=_cnn,
            optimizer=_adam(3e-3),
            labels=100,
            before=_one_class(300),
            steps=450,
        ),
    ),
    "rate that kills the network": (
        "collapse",
        300,
        ("loss_spike", "exploding_gradient"),
        lambda: supervised(
            data="mnist5k",
            make=_cnn,
            optimizer=_sgd(0.05, 0.9),
            before=_factor(lambda step: {300: 20.0, 304: 0.05}.get(step)),
            steps=500,
            seed=21,
        ),
    ),
    "cycles of a rate too high": (
        "oscillation",
        300,
        ("loss_spike", "exploding_gradient"),
        lambda: supervised(
            optimizer=_sgd(0.05),
            before=_factor(lambda step: 0.05 if step < 300 else 0.05 + 1.2 * (1 + np.sin(step / 2.5))),
            steps=500,
            seed=22,
        ),
    ),
    "full batch beyond the edge of stability": (
        "oscillation",
        200,
        ("loss_spike",),
        lambda: supervised(
            make=lambda shape: _mlp(shape, widths=(16,), activation="tanh"),
            optimizer=_sgd(0.1),
            prepare=_few(400, 0.0),
            batch=400,
            before=_factor(lambda step: 2.5 if step == 200 else None),
            steps=400,
            seed=23,
        ),
    ),
    "momentum too high": (
        "oscillation",
        200,
        ("loss_spike", "exploding_gradient"),
        lambda: supervised(
            make=lambda shape: _mlp(shape, widths=(32,)),
            optimizer=_sgd(0.02, 0.99),
            before=_factor(lambda step: 0.3 if step == 200 else None),
            steps=400,
            seed=24,
        ),
    ),
    "deep sigmoids": (
        "plateau",
        -1,
        ("vanishing_gradient", "collapse"),
        lambda: supervised(
            make=lambda shape: _mlp(shape, widths=(32,) * 8, activation="sigmoid"),
            optimizer=_sgd(0.05),
            steps=900,
            epoch=100,
            seed=25,
        ),
    ),
    "labels that belong to other images": (
        "plateau",
        -1,
        ("overfitting",),
        lambda: supervised(
            make=lambda shape: _mlp(shape, widths=(8,)),
            optimizer=_sgd(0.02),
            prepare=_shuffled_labels,
            steps=900,
            epoch=100,
            seed=26,
        ),
    ),
}


def packed(recorder, cause, onset, also):
    """A training as arrays and JSON: two records differ in what they hold, where a value is missing it is NaN."""
    names = sorted({name for record in recorder.records for name in record})
    missing = -1e38  # NaN is a value that was recorded.
    table = np.array([[record.get(name, missing) for name in names] for record in recorder.records], "float32")
    return table, {
        "signals": names,
        "epochs": recorder.epochs,
        "cause": cause,
        "onset": onset,
        "also": list(also),
    }


def shortened(table):
    """The same numbers to four digits, which pack better."""
    bits = table.view("uint32")
    return np.where(np.isfinite(table), (bits + 0x200) & 0xFFFFFC00, bits).astype("uint32").view("float32")


def main(argv):
    """Records the trainings and writes the file."""
    del argv
    tables, described = {}, {}
    if OUTPUT.exists():
        with np.load(OUTPUT) as file:
            described = json.loads(str(file["histories"]))
            tables = {name: file[name] for name in described if name in TRAININGS}
    for name, (cause, onset, also, train) in TRAININGS.items():
        if (ONLY.value and name not in ONLY.value) or (not ONLY.value and name in tables):
            continue
        recorder = train()
        table, described[name] = packed(recorder, cause, onset, also)
        tables[name] = shortened(table)
        losses = [record["loss"] for record in recorder.records]
        print(f"{name:45}{len(losses):5} steps, loss {losses[0]:9.4g} -> {np.median(losses[-50:]):9.4g}", flush=True)
        described = {name: described[name] for name in TRAININGS if name in described}
        np.savez_compressed(OUTPUT, histories=json.dumps(described), **tables)


if __name__ == "__main__":
    app.run(main)
