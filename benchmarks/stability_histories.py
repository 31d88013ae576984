"""The corpus of training histories with and without trouble: synthetic ones, made from a seed, and recorded ones.

The recorded ones are those of `benchmarks.stability_corpus`. A history is healthy, or it has one trouble, with its
cause and its onset, the first step at which it can be seen:

- of what happens at a step, that step;
- of a loss that leaves its course slowly, the first step at which the median of the 9 steps around is above its lowest
  by a tenth of the fall and stays there for 25 steps;
- of overfitting, the last step of the first epoch at which the lowest validation loss (a mean of 3 epochs) is four
  epochs old and the validation loss has risen by a tenth of all that it fell;
- of a plateau, the step at which the loss has been flat for 500 steps and for three tenths of the training.

Half of the histories were never looked at while thresholds were chosen: of the recorded ones each second one of a
cause, of the synthetic ones those of odd seeds.
"""

import dataclasses
import json
import math
import pathlib

import numpy as np

RECORDED = pathlib.Path(__file__).parent / "stability_corpus.npz"
_MISSING = -1e37  # what the recorded tables hold less than, where a record has no such value


@dataclasses.dataclass
class History:
    """What a training showed.

    Attributes:
        name: of the history.
        records: a dictionary of floats a step; the first is that of step 1.
        epochs: `(step, logs)` of each epoch, `step` its last.
        cause: what went wrong, `None` for a healthy training.
        onset: first step at which that can be seen, or the number of steps plus 1.
        also: other causes that name the trouble as well.
        held_out: whether thresholds were chosen without it.
        recorded: whether a network was trained, rather than numbers drawn.
    """

    name: str
    records: list
    epochs: list
    cause: str | None
    onset: int
    also: tuple
    held_out: bool
    recorded: bool

    def feed(self, detectors):
        """Feeds detectors with the history, step by step; yields their events."""
        epochs = dict(self.epochs)
        for step, record in enumerate(self.records, 1):
            yield from detectors.update(step, record)
            if step in epochs:
                yield from detectors.update_epoch(step, epochs[step])


def corpus(seeds=6):
    """All histories: the recorded ones, and synthetic ones of so many seeds a cause, thrice as many healthy ones."""
    found = recorded()
    found += [synthetic(None, seed) for seed in range(3 * seeds)]
    return found + [synthetic(cause, seed) for cause in TROUBLES for seed in range(seeds)]


def recorded(path=RECORDED):
    """The histories of real trainings."""
    histories, counts = [], {}
    with np.load(path) as file:
        described = json.loads(str(file["histories"]))
        for name, about in described.items():
            table = file[name].astype("float64")
            names = about["signals"]
            records = [
                {key: value for key, value in zip(names, row, strict=True) if not value < _MISSING}
                for row in table.tolist()
            ]
            cause, onset = about["cause"], about["onset"]
            epochs = [(step, logs) for step, logs in about["epochs"]]
            if onset < 0:
                onset = _onset(cause, records, epochs)
            number = counts[cause] = counts.get(cause, -1) + 1
            histories.append(History(name, records, epochs, cause, onset, tuple(about["also"]), number % 2 == 1, True))
    return histories


def _onset(cause, records, epochs):
    if cause == "plateau":
        return plateau_onset(1)
    if cause == "overfitting":
        return overfitting_onset(epochs)
    return leaving_onset([record.get("supervised_loss", record["loss"]) for record in records])


def leaving_onset(losses):
    """Onset of a loss that leaves its course slowly."""
    wide = np.pad(np.nan_to_num(np.asarray(losses), nan=np.inf), 4, mode="edge")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(wide, 9), axis=1)
    for step in range(25, len(medians) - 25):
        lowest = medians[:step].min()
        if (medians[step : step + 25] > lowest + 0.1 * (medians[0] - lowest)).all():
            return step + 1
    return len(losses) + 1


def overfitting_onset(epochs):
    """Onset of overfitting."""
    steps = [step for step, _ in epochs]
    losses = np.array([logs["val_loss"] for _, logs in epochs])
    means = np.convolve(np.pad(losses, 1, mode="edge"), np.full(3, 1 / 3), "valid")
    lowest = int(np.argmin(means))
    fall = losses[: lowest + 1].max() - losses[lowest]
    for epoch in range(lowest + 4, len(losses)):
        if losses[epoch] >= losses[lowest] + 0.1 * max(fall, losses[lowest]):
            return steps[epoch]
    return steps[-1] + 1


def plateau_onset(flat):
    """Onset of a plateau, for a loss that is flat from a step on."""
    return flat + max(500, math.ceil(flat * 3 / 7))


class _Course:
    """A synthetic training that is healthy: arrays of its signals, and what they were drawn by."""

    def __init__(self, numbers, steps, *, slow=False):
        self.numbers, self.steps = numbers, steps
        time = np.arange(steps)
        self.scale = 10 ** numbers.uniform(-3, 3)
        floor = 0.7 if slow else numbers.choice([0.0, 0.002, 0.05, 0.2])
        if slow:
            shape = np.exp(-time / numbers.uniform(500, 1500))
        elif numbers.random() < 0.5:
            shape = np.exp(-time / numbers.uniform(60, 300))
        else:
            shape = (1 + time / numbers.uniform(10, 60)) ** -numbers.uniform(0.7, 1.5)
        self.rate = self._schedule(time)
        self.mean = floor + (1 - floor) * shape + self._restarts() * (1 - floor)
        self.noise = numbers.uniform(0.03, 0.35)
        self.excess = np.maximum(shape, 1e-6)
        self.gradient = numbers.uniform(0.1, 30) * (0.03 + self.excess) ** numbers.uniform(0.2, 0.9)
        self.gradient *= np.exp(self._heavy(numbers.uniform(0.2, 0.6)))
        self.ratio = 10 ** numbers.uniform(-3.5, -2) * self.rate * np.exp(self._heavy(0.3))
        self.with_term = numbers.random() < 0.6
        chance = numbers.choice([0.16, 0.25, 0.6, 0.8])
        start = numbers.uniform(chance, 1)
        self.share = chance + (start - chance) * np.exp(-time / 30) + 0.04 * numbers.normal(size=steps)
        dip = 0.35 * (1 - np.exp(-time / 40)) * np.exp(-time / 200)
        self.agreement = 0.97 - dip - 0.05 * np.exp(-time / 400) + 0.04 * numbers.normal(size=steps)
        self.mask = 0.9 * (1 - np.exp(-time / numbers.uniform(50, 800)))
        self.ramp = np.exp(-5 * (1 - np.minimum(time / numbers.uniform(100, 1000), 1)) ** 2)
        self.weight = numbers.uniform(0.5, 10)
        self.term = self.mask * (0.02 + 0.3 * self.excess**0.5) * np.exp(self._heavy(0.3))
        self.distance = self._average(numbers.choice([0.95, 0.99, 0.999]))
        self.validation = (floor + 0.02 + (1 - floor) * shape) * (1 + 0.03 * time / steps)

    def _heavy(self, size):
        """Noise of a heavy tail: Student's of three degrees of freedom."""
        return size * np.clip(self.numbers.standard_t(3, self.steps), -12, 12) / math.sqrt(3)

    def _schedule(self, time):
        kind = self.numbers.integers(5)
        progress = time / self.steps
        self.period = int(self.numbers.integers(250, 700)) if kind >= 3 else None
        if kind == 1:
            return 0.5 * (1 + np.cos(np.pi * progress)) + 1e-4
        if kind == 2:
            return np.minimum((time + 1) / 200, 1) * (0.5 * (1 + np.cos(np.pi * progress)) + 1e-4)
        if kind == 3:
            return 0.5 * (1 + np.cos(np.pi * (time % self.period) / self.period)) + 1e-3
        if kind == 4:
            return 0.1 + 0.9 * np.abs(2 * (time % self.period) / self.period - 1)
        return np.ones(self.steps)

    def _restarts(self):
        if self.period is None:
            return np.zeros(self.steps)
        since = np.arange(self.steps) % self.period
        first = np.arange(self.steps) < self.period
        return np.where(first, 0, self.numbers.uniform(0.02, 0.15) * np.exp(-since / 50))

    def _average(self, decay):
        away, distance = 0.0, np.empty(self.steps)
        for step in range(self.steps):
            away = decay * (away + 0.3 * self.ratio[step])
            distance[step] = away
        return distance

    def history(self, name, cause, onset, held_out, also=(), *, signals=None, losses=None):
        """The history, from the arrays as they are now."""
        loss = self.scale * self.mean * np.exp(self._heavy(self.noise)) if losses is None else losses
        columns = {"learning_rate": 0.1 * self.rate, "gradient_norm": self.gradient, "update_ratio": self.ratio}
        columns["top_class_share"] = np.clip(self.share, 0, 1)
        if self.with_term:
            columns["supervised_loss"] = loss
            columns["loss"] = loss + self.scale * self.weight * self.ramp * self.term
            columns["u_loss"] = self.scale * self.term
            columns["u_mask_rate"] = self.mask
            columns["u_agreement"] = np.clip(self.agreement, 0, 1)
            columns["teacher_distance"] = self.distance
        else:
            columns["loss"] = loss
        columns |= signals or {}
        values = zip(*(column.tolist() for column in columns.values()), strict=True)
        records = [dict(zip(columns, row, strict=True)) for row in values]
        epochs = []
        for last in range(100, self.steps + 1, 100):
            # A validation averages over many examples: its noise is small.
            held = self.scale * self.validation[last - 1] * (1 + 0.01 * self.numbers.normal())
            epochs.append((last, {"loss": float(np.mean(columns["loss"][last - 100 : last])), "val_loss": float(held)}))
        return History(name, records, epochs, cause, onset, tuple(also), held_out, False)


def _not_finite(course, onset, numbers):
    loss = course.scale * course.mean * np.exp(course._heavy(course.noise))
    gradient = course.gradient.copy()
    loss[onset - 1 :] = numbers.choice([np.nan, np.inf])
    gradient[onset - 1 :] = np.nan
    return {"losses": loss, "signals": {"gradient_norm": gradient}}


def _loss_spike(course, onset, numbers):
    since = np.arange(course.steps) - (onset - 1)
    height = numbers.uniform(0.4, 1.5) * (course.mean[0] - course.mean[onset - 1])
    rise = np.clip((since + 1) / numbers.uniform(1, 15), 0, 1)
    lasting = numbers.choice([30.0, 100.0, 1e6])
    course.mean = course.mean + np.where(since >= 0, height * rise * np.exp(-np.maximum(since, 0) / lasting), 0)
    course.gradient = course.gradient * np.where(since >= 0, 1 + numbers.uniform(0, 5) * rise, 1)
    return {}


def _oscillation(course, onset, numbers):
    since = np.arange(course.steps) - (onset - 1)
    period = numbers.choice([2, 3, 4, 6, 10, 16, 20])
    height = numbers.uniform(0.25, 0.8) * course.mean[0]
    wave = 0.5 * (1 - np.cos(2 * np.pi * since / period))
    if period == 2:
        wave = since % 2 * 1.0
    grown = np.clip(since / 10, 0, 1)
    course.mean = np.where(since >= 0, course.mean[onset - 1] + height * wave * grown, course.mean)
    return {}


def _teacher_divergence(course, onset, numbers):
    course.with_term = True
    since = np.arange(course.steps) - (onset - 1)
    after = since >= 0
    gone = np.clip((since + 1) / numbers.uniform(5, 30), 0, 1)
    kind = numbers.integers(3)
    if kind != 1:
        lowest = numbers.uniform(0.1, 0.4)
        course.agreement = np.where(after, course.agreement * (1 - gone) + lowest * gone, course.agreement)
    if kind != 0:
        growth = np.minimum(numbers.uniform(1.05, 1.2) ** np.maximum(since, 0), 100)
        course.distance = course.distance * growth
    course.mean = np.where(after, course.mean[onset - 1] * (1 + 0.3 * gone), course.mean)
    return {}


def _collapse(course, onset, numbers):
    since = np.arange(course.steps) - (onset - 1)
    gone = np.clip((since + 1) / numbers.uniform(5, 25), 0, 1)
    chance = numbers.choice([0.16, 0.25, 0.6])
    share = chance + 0.04 * numbers.normal(size=course.steps)
    final = numbers.uniform(0.92, 1.0)
    course.share = np.where(since >= 0, share * (1 - gone) + final * gone, share)
    course.agreement = np.where(since >= 0, course.agreement * (1 - gone) + gone, course.agreement)
    rise = numbers.uniform(0.0, 0.15) * (course.mean[0] - course.mean[onset - 1])
    course.mean = np.where(since >= 0, course.mean[onset - 1] + rise * gone, course.mean)
    return {}


def _vanishing_gradient(course, onset, numbers):
    since = np.maximum(np.arange(course.steps) - (onset - 1), 0)
    course.gradient = course.gradient * np.maximum(numbers.uniform(0.7, 0.85) ** since, 1e-7)
    course.mean = np.where(since > 0, course.mean[onset - 1], course.mean)
    return {}


def _exploding_gradient(course, onset, numbers):
    since = np.maximum(np.arange(course.steps) - (onset - 1), 0)
    factor = np.minimum(numbers.uniform(1.12, 2.0) ** since, 10 ** numbers.uniform(2.5, 6))
    course.gradient = course.gradient * factor
    course.ratio = course.ratio * np.minimum(factor, 1e4)
    course.mean = np.where(since > 0, course.mean[onset - 1] * (1 + 0.002 * since), course.mean)
    return {}


def _overfitting(course, onset, numbers):
    since = np.maximum(np.arange(course.steps) - onset, 0)
    slope = numbers.uniform(0.0003, 0.002)
    start = course.validation[onset]
    course.validation = np.where(since > 0, start + slope * since * course.mean[0], course.validation)
    return {}


def _plateau(course, onset, numbers):
    level = numbers.uniform(0.45, 0.85)
    time = np.arange(course.steps)
    course.mean = level + (1 - level) * np.maximum(1 - time / onset, 0) ** 1.2
    course.rate = np.ones(course.steps)
    return {}


TROUBLES = {
    "not_finite": _not_finite,
    "loss_spike": _loss_spike,
    "oscillation": _oscillation,
    "teacher_divergence": _teacher_divergence,
    "collapse": _collapse,
    "vanishing_gradient": _vanishing_gradient,
    "exploding_gradient": _exploding_gradient,
    "overfitting": _overfitting,
    "plateau": _plateau,
}
_ALSO = {
    "oscillation": ("loss_spike",),
    "loss_spike": ("exploding_gradient",),
    "exploding_gradient": ("loss_spike",),
    "vanishing_gradient": ("plateau",),
}


def synthetic(cause, seed):
    """A history of numbers drawn from a seed: 3,000 healthy steps, or a trouble and 300 steps more.

    Args:
        cause: one of `TROUBLES`, or `None` for a healthy history.
        seed: integer; odd ones are held out.
    """
    number = 0 if cause is None else 1 + list(TROUBLES).index(cause)
    numbers = np.random.Generator(np.random.PCG64([seed, number]))
    name, held_out = f"synthetic {cause or 'healthy'} {seed}", seed % 2 == 1
    if cause is None:
        return _Course(numbers, 3000).history(name, None, 3001, held_out)
    begins = int(numbers.integers(300, 1200))
    after = plateau_onset(begins) - begins + 200 if cause == "plateau" else 1500 if cause == "overfitting" else 300
    course = _Course(numbers, begins + after, slow=cause == "vanishing_gradient")
    changed = TROUBLES[cause](course, begins, numbers)
    history = course.history(name, cause, begins, held_out, _ALSO.get(cause, ()), **changed)
    if cause == "plateau":
        history.onset = plateau_onset(begins)
    elif cause == "overfitting":
        history.onset = overfitting_onset(history.epochs)
    return history
