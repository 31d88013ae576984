"""docs/robustness.md: its code runs, and its tables name what there is."""

import pathlib
import re

import numpy as np
import pytest

import keras_consistency as kc

PAGE = (pathlib.Path(__file__).resolve().parents[1] / "docs" / "robustness.md").read_text(encoding="utf-8")


def section(heading):
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_every_perturbation_has_a_row():
    rows = re.findall(r"^\| `(\w+)\(", section("Perturbations"), re.MULTILINE)
    assert sorted(rows) == sorted(set(kc.perturbations.__all__) - {"Perturbation"})


def test_recipes_of_the_table_are_there():
    rows = re.findall(r"\| `(\w+)` \|", section("Which recipe"))
    assert len(rows) == 6 and set(rows) <= set(kc.recipes.available())


# Keras says it of every `tf.data.Dataset`, and tensorflow-datasets' dependencies on import.
@pytest.mark.filterwarnings("ignore:.shuffle=True:UserWarning", "ignore::DeprecationWarning")
def test_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    short = {"model.fit(x, y, batch_size=128, epochs=1)": "model.fit(x[:256], y[:256], verbose=0)", ":200]": ":20]"}
    for block in blocks:
        for long, brief in short.items():
            block = block.replace(long, brief)
        exec(compile(block, "robustness.md", "exec"), names)
    np.testing.assert_array_equal(names["one"], names["same"])
    images = names["images"]
    assert 0 < np.abs(names["one"] - images).max() <= 0.2 * 255 + 1e-4
    moved, _ = next(iter(names["batches"]))
    assert moved.shape == (100, 28, 28, 1) and moved.dtype == "float32"
    assert [record["condition"] for record in names["records"]][0] == "clean" and len(names["records"]) == 8
    assert (tmp_path / "robustness.png").stat().st_size > 10_000
    assert names["text_model"].terms[0].student_views[0].at == "embedding"
