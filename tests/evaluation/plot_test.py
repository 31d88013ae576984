import sys

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.backends import backend_agg

import keras_consistency as kc


def record(condition, level, accuracy, consistency=0.5, ece=0.1):
    values = {"accuracy": accuracy, "consistency": consistency, "ece": ece}
    return {"condition": condition, "level": level, **values, "examples": 10}


RECORDS = [
    record("clean", None, 0.9, 1.0),
    record("noise", 0.2, 0.7),
    record("noise", 0.1, 0.8),
    record("fog", 1.0, 0.6),
    record("snow", 1.0, 0.4),
    record("fog", 3.0, 0.3),
    record("PGD", 8 / 255, 0.0, ece=0.9),
    record("Rotation", None, 0.3),
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def saved(figure, *args, **kwargs):
        figures.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", saved)
    return figures


def lines(figure):
    """The points of each line, by its row, the title of its column and its label."""
    panels = np.array(figure.axes).reshape(-1, len([axes for axes in figure.axes if axes.get_title()]))
    return {
        (row, panels[0, column].get_title(), line.get_label()): line.get_xydata().tolist()
        for (row, column), axes in np.ndenumerate(panels)
        for line in axes.get_lines()
    }


def test_lines_are_the_records_from_the_clean_one_up(drawn, tmp_path):
    kc.evaluation.plot_robustness(
        {"a": RECORDS, "b": RECORDS[:3]}, tmp_path / "curves.png", metrics=["ece", "accuracy"]
    )
    (figure,) = drawn
    found = lines(figure)
    assert {title for _, title, _ in found} == {"noise", "corruptions, mean of 2", "PGD"}
    assert found[1, "noise", "a"] == found[1, "noise", "b"] == [[0, 0.9], [0.1, 0.8], [0.2, 0.7]]
    assert found[1, "corruptions, mean of 2", "a"] == [[0, 0.9], [1, 0.5], [3, 0.3]]
    assert found[0, "PGD", "a"] == [[0, 0.1], [8 / 255, 0.9]]
    assert (0, "PGD", "b") not in found
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert [axes.get_xlabel() for axes in figure.axes][-3:] == ["standard deviation", "severity", "radius"]
    assert figure.axes[0].get_ylabel() == "calibration error"
    assert figure.axes[0].get_ylim()[1] > 0.9
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_nothing_of_a_picture_overlaps_or_is_cut(drawn, tmp_path):
    names = {f"a model with a long name, number {number}": RECORDS for number in range(5)}
    attacks = [record("projected gradient descent, L2, 40 steps", 1.5, 0.2)]
    names["six"] = RECORDS + attacks
    kc.evaluation.plot_robustness(names, str(tmp_path / "curves.png"))
    (figure,) = drawn
    renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes] + [figure.legends[0].get_window_extent(renderer)]
    for number, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_one_list_is_drawn_without_a_legend(drawn, tmp_path):
    kc.evaluation.plot_robustness(RECORDS[:3], tmp_path / "curves.svg")
    assert not drawn[0].legends
    assert len(drawn[0].axes) == 3
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        (RECORDS, {"metrics": ["loss"]}, "`metrics` must be a list out of"),
        (RECORDS, {"metrics": "ece"}, "`metrics` must be a list out of"),
        (RECORDS, {"metrics": []}, "`metrics` must be a list out of"),
        ([], {}, "`records` must hold at least one condition"),
        (RECORDS[:1], {}, "`records` must hold at least one condition"),
        ({}, {}, "`records` must hold at least one condition"),
        ([{"condition": "noise", "accuracy": 1}], {}, r"a record without \['consistency', 'ece', 'level'\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(records, options, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        kc.evaluation.plot_robustness(records, tmp_path / "curves.png", **options)
    assert "Received: " in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"`plot_robustness` needs matplotlib .*keras-consistency\[robustness\]"):
        kc.evaluation.plot_robustness(RECORDS, tmp_path / "curves.png")
