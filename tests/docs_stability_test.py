"""docs/stability.md: its code runs, and its tables name what there is."""

import json
import pathlib
import re

import keras
import numpy as np
import pytest

import keras_consistency as kc
from keras_consistency.callbacks.reactions import ACTIONS
from keras_consistency.clipping import KINDS

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")


def rows(heading, column=0):
    """What stands in backticks in a column of the tables of a section."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [found[1] for cells in table if (found := re.match(r" ?`([\w.]+)` ?$", cells[column]))]


def test_schedules_of_the_table_are_there_and_can_be_followed():
    found = rows("Learning rate", column=1)
    assert len(found) == 7 and {"kc.schedules.PartialCosine", "kc.schedules.OneCycle"} < set(found)
    for name in found:
        schedule = eval(name, {"keras": keras, "kc": kc})
        assert issubclass(schedule, keras.optimizers.schedules.LearningRateSchedule)


def test_every_way_of_clipping_has_a_row():
    assert rows("Clipping") == list(KINDS)
    for name in rows("Clipping"):
        assert kc.Clipping(**{name: 0.5}).kind == name


def test_every_cause_and_every_action_has_a_row():
    assert rows("The monitor") == [*kc.stability.CAUSES, *ACTIONS]


def test_arguments_that_the_page_names_are_those_of_regularize():
    (named,) = re.findall(r"`kc\.regularize\(model, ([^)]*)\)`", PAGE)
    assert named.replace("=", "").split(", ") == ["l1", "l2", "dropout", "batch_norm", "max_norm"]
    for name, value in {"l1": 0.1, "l2": 0.1, "dropout": 0.1, "batch_norm": True, "max_norm": 1.0}.items():
        layers = [keras.Input([4]), keras.layers.Dense(3), keras.layers.Dense(2)]
        assert kc.regularize(keras.Sequential(layers), **{name: value}, print_fn=None).count_params() >= 23


# Keras says the first of every `tf.data.Dataset`; tensorflow-datasets' dependencies the other on import.
@pytest.mark.filterwarnings("ignore:.shuffle=True:UserWarning", "ignore::DeprecationWarning")
def test_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    short = {
        "ratio=3, steps=50)": "ratio=3, steps=6)",
        "epochs=10,": "epochs=2, verbose=0,",
        "plain.fit(x, y,": "plain.fit(x[:320], y[:320], verbose=0,",
        "epochs=5,": "epochs=2,",
        "steps=500": "steps=12",
        "warmup_steps=50": "warmup_steps=4",
        "steps=400": "steps=20",
    }
    for long in short:
        assert sum(block.count(long) for block in blocks) == 1, long
    for block in blocks:
        for long, brief in short.items():
            block = block.replace(long, brief)
        exec(compile(block, "stability.md", "exec"), names)
    model, plain = names["model"], names["plain"]
    assert int(model.optimizer.iterations.numpy()) == 12 and int(plain.optimizer.iterations.numpy()) == 20
    assert {"learning_rate", "gradient_norm", "clipped_gradient_norm", "clip_rate"} <= set(model.history.history)
    assert 0.01 < model.history.history["learning_rate"][0] <= 0.03
    assert max(plain.history.history["clipped_gradient_norm"]) <= min(plain.history.history["gradient_norm"])
    assert all(np.isfinite(model.history.history["loss"]))
    assert any("dropout" in layer.name for layer in names["student"].layers)
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")
    written = tmp_path / "events.jsonl"
    lines = written.read_text(encoding="utf-8").splitlines() if written.exists() else []
    assert [json.loads(line)["cause"] for line in lines] == [event["cause"] for event in names["watching"].events]
    assert "dropout" in capsys.readouterr().out
