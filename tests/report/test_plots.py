"""What the charts show: learning curves and distance curves."""

import numpy as np
import pytest

from tests.report.runs import curve
from vipjax.report import plots
from vipjax.report.run import read_run
from vipjax.runtime import files

BEFORE = {"recorded": [curve("a, b", [1.0, 3.0, 0.0], 0.5)], "unseen": [curve("c", [1.0, 0.5])]}
AFTER = {"recorded": [curve("a, b", [4.0, 2.0, 0.0])], "unseen": [curve("c", [4.0, 0.0])] * 2}


@pytest.fixture
def charts(tmp_path):
  def of(before, after):
    files.write_json(tmp_path / "evaluation.json", {"before": before, "after": after})
    return plots.curve_charts(read_run(tmp_path))

  return of


def test_curves_before_and_after(charts):
  (recorded,), (unseen,) = charts(BEFORE, AFTER)
  assert recorded.title == "a, b\nρ 0.50 → 1.00"
  old, new = recorded.traces
  assert (old["colour"], old["plotly"]["line"]["dash"], new["colour"]) == ("faint", "dash", 0)
  np.testing.assert_allclose(old["y"], [1, 3, 0])
  np.testing.assert_allclose(new["y"], [1, 0.5, 0])
  # Each curve thin, and their mean.
  means = [f"{when} fine-tuning, mean of {n} (ρ 1.00)" for when, n in (("before", 1), ("after", 2))]
  assert [trace["name"] for trace in unseen.traces] == ["c", means[0], "c", "c", means[1]]
  assert [trace["plotly"].get("showlegend", True) for trace in unseen.traces] == [
    False, True, False, False, True,
  ]  # fmt: skip
  # A wild curve leaves the chart, at twice the first distance.
  assert recorded.layout["yaxis"]["range"] == unseen.layout["yaxis"]["range"] == [0, 2.16]
  ((only_before,),) = charts({"recorded": BEFORE["recorded"]}, None)
  assert only_before.title == "a, b\nρ 0.50" and len(only_before.traces) == 1


def test_charts_follow_what_there_is(charts):
  assert charts(None, None) == charts({"recorded": []}, {}) == []
  many = {"recorded": [curve(f"video {i}", [2.0, 1.0]) for i in range(20)]}
  # The first 8 of 20, four in a row.
  assert [len(row) for row in charts(None, many)] == [4, 4]


def test_a_collapsed_encoder_still_has_charts(charts):
  flat = {"recorded": [curve("a", [0.0, 0.0])], "unseen": [curve("b", [0.0, 1.0])]}
  (recorded,), (unseen,) = charts(flat, None)
  # Undivided.
  assert unseen.traces[0]["y"].tolist() == [0.0, 1.0] and not recorded.traces[0]["y"].any()
  ((still,),) = charts({"recorded": flat["recorded"]}, None)
  assert still.layout["yaxis"]["range"] == [0, 1.08]


def test_metrics_are_drawn_where_they_have_values():
  rows = [{"step": 1, "success": 0.5, "return": None}, {"step": 3, "success": 1.0}]
  rows += [{"step": 3, "train_distance": 2.0}]
  success, distance = plots.metric_charts(rows, plots.LEARNING, "environment steps")
  (trace,) = success.traces
  assert success.title == "success rate" and success.layout["xaxis"]["title"] == "environment steps"
  assert (trace["x"].tolist(), trace["y"].tolist(), trace["colour"]) == ([1, 3], [0.5, 1.0], 0)
  assert [(each["name"], each["colour"]) for each in distance.traces] == [
    ("while exploring", "faint")
  ]
  assert plots.metric_charts([], plots.LOSSES, "steps") == []


def test_seeds_trained_at_once_are_drawn_beside_their_mean():
  rows = [{"step": 1, "success": 0.5, "seed3/success": 0.25, "seed4/success": 0.75}]
  rows += [{"step": 2, "success": 1.0, "seed4/success": 1.0, "seed3/success": None}]
  ((*each, mean),) = (made.traces for made in plots.metric_charts(rows, plots.LEARNING, "steps"))
  assert [(seed["name"], seed["y"].tolist()) for seed in each] == [
    ("seed3", [0.25]), ("seed4", [0.75, 1.0]),
  ]  # fmt: skip
  assert (mean["name"], mean["y"].tolist(), mean["colour"]) == ("mean of 2", [0.5, 1.0], 0)


def test_many_points_have_a_running_mean():
  rows = [{"step": step, "loss": float(step % 2)} for step in range(100)]
  ((raw, mean),) = (each.traces for each in plots.metric_charts(rows, plots.LOSSES, "steps"))
  assert raw["name"] == "as it is" and mean["name"] == "running mean"
  assert np.ptp(raw["y"]) == 1 and np.ptp(mean["y"]) < 0.3


def test_running_mean_by_hand():
  values = np.array([0.0, 3.0, 6.0, 9.0, 100.0])
  np.testing.assert_allclose(plots.running_mean(values, 1), [1.5, 3.0, 6.0, 115 / 3, 54.5])
  np.testing.assert_allclose(plots.running_mean(values, 0), values)


def test_mean_curve_ends_with_the_shortest():
  times, mean = plots.mean_curve([curve("a", [2.0, 1.0, 0.0]), curve("b", [1.0, 0.0])])
  assert times[0] == 0 and times[-1] == pytest.approx(0.1)
  # Divided by their first: 1 and 1 at the start, 0.5 and 0 at 0.1 s.
  assert mean[[0, -1]] == pytest.approx([1.0, 0.25])
