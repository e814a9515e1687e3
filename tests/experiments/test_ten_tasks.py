"""Ten tasks: the config of each run, what is skipped, left out and told; stages stand in."""

import json

import pytest

from configs import ten_tasks as ten_tasks_config
from configs.paper import additions
from vipjax.experiments import runs, ten_tasks
from vipjax.runtime import files, run_folder
from vipjax.runtime.errors import UserError

TASKS = (("drawer-open", "torque"), ("handle-pull-side", "end_effector"))


@pytest.fixture
def config():
  config = ten_tasks_config.get_config()
  config.ten_tasks.tasks, config.ten_tasks.seeds = TASKS, (0, 1)
  return config


def finish(folder, success, name="policy_success", steps=100):
  """What a run leaves of its policy."""
  files.write_json(folder / "metrics.jsonl", {
    "stage": "policy", "step": steps, "success": success, "return": 2.0,
  })  # fmt: skip
  text = json.dumps(json.loads((folder / "metrics.jsonl").read_text()))
  (folder / "metrics.jsonl").write_text(text + "\n")
  run_folder.mark_done(folder, "policy", {name: success}, 60.0)


@pytest.fixture
def stages(monkeypatch):
  """Stands in for the stages: notes the configs, and leaves results; one run fails."""
  seen = []

  def run_stages(config, folder, additions):
    seen.append((config.env.task, config.env.control, config.seed))
    assert "ten_tasks" not in config and additions is not None
    if seen[-1] == ("drawer-open", "torque", 1):
      raise UserError("expected the scripted expert to succeed, got a failure; choose a task.")
    finish(folder, 0.5)
    results = {
      "policy_success": 0.5, "episodes": 20, "rank_correlation_unseen": 0.91, "hack_price": 0.25,
      "off_path": {"reward": {"progress": 0.66, "hand": None}}, "seconds": {"policy": 60.0},
    }  # fmt: skip
    files.write_json(folder / "results.json", results)
    return results

  monkeypatch.setattr(ten_tasks, "run_stages", run_stages)
  monkeypatch.setattr(ten_tasks, "write_report", lambda folder: None)
  monkeypatch.setattr(runs, "share_out", lambda work, jobs, **_: map(work, jobs))
  return seen


def test_the_tasks_of_the_config_have_an_expert():
  from vipjax.ids import SOLVED

  config = ten_tasks_config.get_config()
  assert len({task for task, _ in config.ten_tasks.tasks}) == 10
  assert all(task in SOLVED["sawyer", control] for task, control in config.ten_tasks.tasks)


def test_every_task_is_run_once_with_every_seed(config, tmp_path, stages):
  ceiling = tmp_path / "ceiling"
  finish(ceiling / "ideal" / "torque" / "drawer-open" / "seed0", 1.0, "success")
  finish(ceiling / "ideal" / "torque" / "handle-pull-side" / "seed0", 0.1, "success")
  config.ten_tasks.ceiling = str(ceiling)
  workdir = tmp_path / "runs"
  page = ten_tasks.run_ten_tasks(config, workdir, additions)
  assert stages == [(*task, seed) for seed in (0, 1) for task in TASKS]
  header, _, drawer, handle = (workdir / "table.md").read_text().splitlines()
  cells = dict(zip(header.split(" | "), drawer.split(" | "), strict=True))
  assert cells["success"] == "50%" and cells["progress off the path"] == "0.66"
  assert cells["hand off the path"] == "-" and cells["hack price"] == "0.25"
  assert cells["share of the ceiling"] == "50%"
  assert cells["actions to 80%"] == "-"
  # The ceiling of another control says nothing about this one's.
  assert (
    dict(zip(header.split(" | "), handle.split(" | "), strict=True))["share of the ceiling"] == "-"
  )
  assert "Left out" in page.read_text() and "drawer-open/seed1" in page.read_text()
  # What has finished is not run again; what was left out is tried once more.
  ten_tasks.run_ten_tasks(config, workdir, additions)
  assert stages[4:] == [("drawer-open", "torque", 1)]


def test_an_unknown_task(config, tmp_path):
  config.ten_tasks.tasks = (("window-opn", "torque"),)
  with pytest.raises(UserError, match="window-opn"):
    ten_tasks.run_ten_tasks(config, tmp_path, additions)
