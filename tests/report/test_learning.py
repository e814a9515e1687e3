"""Learning curves and the table of many policies, from runs made by hand."""

import pathlib

import pytest

from tests.report.test_pictures import chart, count
from vipjax.evaluation import bootstrap_interval
from vipjax.report.charts import LIGHT
from vipjax.report.learning import (
  COLUMNS,
  Column,
  Group,
  learning_cells,
  learning_charts,
  read_policies,
  write_learning,
)
from vipjax.runtime import run_folder
from vipjax.runtime.metrics import MetricsWriter


def write_run(folder: pathlib.Path, successes, result=None, seconds=90.0):
  """A run with an evaluation every 10 actions, its return 20 times the success."""
  folder.mkdir(parents=True)
  with MetricsWriter(folder, "policy") as writer:
    for number, success in enumerate(successes, 1):
      writer.write(10 * number, {"success": success, "return": 20.0 * success})
    writer.write(1000, {"encoder_loss": 1.0})  # not an evaluation
  if result is not None:
    run_folder.mark_done(folder, "policy", result, seconds)
  return folder


def test_seeds_trained_at_once_are_runs_of_their_own(tmp_path):
  folder = tmp_path / "seed3"
  folder.mkdir()
  with MetricsWriter(folder, "policy") as writer:
    for step, successes in ((10, (0.0, 0.5)), (20, (0.9, 0.5))):
      each = {f"seed{3 + i}/success": success for i, success in enumerate(successes)}
      writer.write(step, {"success": sum(successes) / 2, **each})
  agents = [{"seed": 3, "policy_success": 0.9}, {"seed": 4, "policy_success": 0.5}]
  run_folder.mark_done(folder, "policy", {"policy_success": 0.7, "agents": agents}, 60.0)
  group = Group("open", "ideal", (folder,))
  first, second = read_policies(group)
  assert (first.agent, first.of_kept("success"), first.actions_to_solve()) == ("seed3", 0.9, 20)
  assert (second.agent, second.at_last(), second.actions_to_solve()) == ("seed4", 0.5, None)
  _, (row,) = learning_cells({group: [first, second]}, "reward")
  assert row[2:6] == ["2", "70% [50%, 90%]", "70%", "20 (1 of 2)"]


@pytest.fixture
def groups(tmp_path):
  """Three seeds, one of them unfinished; one seed that is a pipeline's; one with nothing yet."""
  runs = tmp_path / "runs"
  three = (
    write_run(runs / "0", [0.0, 0.75, 1.0], {"success": 1.0, "return": 30.0}),
    write_run(runs / "1", [0.5, 0.8, 0.5], {"success": 0.5, "return": 12.0}, 120.0),
    write_run(runs / "2", [0.1]),
  )
  result = {"policy_success": 0.25, "policy_return": 1.5, "success": 9.0}
  alone = write_run(runs / "3", [0.0, 0.0], result, 3700.0)
  (runs / "4").mkdir()
  return [
    Group("open", "ideal", three),
    Group("open", "dense", (alone,), "dense"),
    Group("shut", "ideal", (runs / "4",)),
  ]


def policies_of(groups):
  return {group: read_policies(group) for group in groups[:2]}


def test_the_table(groups):
  header, rows = learning_cells(policies_of(groups), "reward")
  assert header == [
    "task", "reward", "seeds", "success", "at the last evaluation", "actions to 80%", "return",
    "wall clock",
  ]  # fmt: skip
  assert rows == [
    ["open", "ideal", "2 of 3 done", "75% [50%, 100%] (2 of 3)", "53%", "25 [20, 30] (2 of 3)",
     "21 (2 of 3)", "1 min 45 s (2 of 3)"],
    ["open", "dense", "1", "25%", "0%", "-", "1.5", "1 h 02 min"],
  ]  # fmt: skip


def test_a_column_of_ones_own(groups):
  name = Column("folder", lambda run: float(run.folder.name), "{:.1f}".format)
  header, rows = learning_cells(policies_of(groups), "reward", (*COLUMNS[:1], name))
  assert header[3:] == ["success", "folder"]
  assert [row[4] for row in rows] == ["1.0 [0.0, 2.0]", "3.0"]


def test_curves(groups):
  (made,) = learning_charts(policies_of(groups), "return", {"title": "return"})
  band, mean, alone = made.traces
  assert made.title == "open" and made.layout["showlegend"]
  assert mean["x"] == [10, 20, 30] and mean["y"] == pytest.approx([4.0, 15.5, 15.0])
  assert (mean["name"], mean["colour"]) == ("ideal", 0) == (band["name"], band["colour"])
  low, high = zip(*map(bootstrap_interval, ([0, 10, 2], [15, 16], [20, 10])), strict=True)
  assert band["x"] == [10, 20, 30, 30, 20, 10]
  assert band["y"] == pytest.approx([*low, *reversed(high)])
  # One seed has no interval.
  assert (alone["x"], alone["y"], alone["colour"]) == ([10, 20], [0.0, 0.0], 1)


def test_the_page(groups, tmp_path):
  page = write_learning(tmp_path, "ceiling", "What <is> there", groups, "reward")
  text = page.read_text()
  assert page == tmp_path / "ceiling.html" and "What &lt;is&gt; there" in text
  assert "Return: embedding reward" in text and "Return: dense" in text
  assert (tmp_path / "ceiling.png").read_bytes().startswith(b"\x89PNG")
  lines = (tmp_path / "table.md").read_text().splitlines()
  assert lines[0].startswith("| task | reward | seeds | success |") and len(lines) == 4
  assert write_learning(tmp_path / "none", "ceiling", "-", groups[2:], "reward") is None


def test_a_band_is_drawn_behind_its_line():
  fill = {"x": [0, 1, 1, 0], "y": [0, 0, 1, 1], "name": "a", "colour": 0}
  plotly = {"fill": "toself", "opacity": 1.0, "showlegend": False}
  # Half of blue and half of white.
  half = "#" + "".join(
    f"{(int(LIGHT.colours[0][i : i + 2], 16) + 255) // 2:02x}" for i in (1, 3, 5)
  )
  assert count(chart(fill | {"plotly": plotly}), half) > 10_000
