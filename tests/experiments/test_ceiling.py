"""The ceiling: which runs there are, and two tiny ones, stopped and taken up again."""

import json

import pytest
from ml_collections import ConfigDict

from configs import ceiling as ceiling_config
from tests.stages.test_train_policy import interrupt, stopping
from vipjax.experiments import ceiling, runs
from vipjax.experiments.ceiling import Job, find_groups, find_jobs, run_ceiling, run_config
from vipjax.reward.measured import DenseReward, IdealReward
from vipjax.runtime.errors import UserError
from vipjax.stages import training


def config_of(**overrides) -> ConfigDict:
  config = ceiling_config.get_config()
  config.update_from_flattened_dict({
    "ceiling.tasks": ("window-open",), "ceiling.controls": ("torque",), "ceiling.seeds": (0,),
    "ceiling.rewards": ("ideal",), "env.horizon": 30,
    "policy.steps": 24, "policy.num_envs": 2, "policy.warmup_steps": 4, "policy.hidden": (16, 16),
    "policy.batch_size": 8, "policy.eval_every": 8, "policy.eval_episodes": 2,
    "policy.final_episodes": 2, "policy.checkpoint_every": 8,
    **overrides,
  })  # fmt: skip
  return config


@pytest.fixture
def in_this_process(no_workers, monkeypatch):
  """Runs jobs one after the other here, where tests can stop them."""
  monkeypatch.setattr(runs, "share_out", lambda work, jobs, **_: map(work, jobs))


def rows(folder):
  return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_what_tells_most_comes_first():
  jobs = find_jobs(ceiling_config.get_config())
  # Ten tasks by the end effector, nine of them by torques, too.
  assert len(jobs) == len(set(jobs)) == 3 * 2 * 19
  assert jobs[0] == Job("ideal", "torque", "window-open", 0)
  assert jobs[9] == Job("ideal", "end_effector", "window-open", 0)
  assert jobs[19] == Job("dense", "torque", "window-open", 0)
  assert jobs[38] == Job("ideal", "torque", "window-open", 1)
  assert ("torque", "handle-pull-side") not in {(job.control, job.task) for job in jobs}


def test_the_config_of_a_run():
  config = config_of(**{"ceiling.dense_scale": 0.5})
  ideal = run_config(config, Job("ideal", "end_effector", "door-open", 2))
  assert (ideal.seed, ideal.env.task, ideal.env.control) == (2, "door-open", "end_effector")
  assert ideal.ceiling.to_dict() == {"reward": "ideal", "hand_weight": 2.0, "object_weight": 10.0}
  reward = ceiling.make_reward(ideal)
  assert isinstance(reward, IdealReward) and reward.settings.scale == 10.0
  dense = ceiling.make_reward(run_config(config, Job("dense", "torque", "door-open", 0)))
  assert dense == DenseReward(0.5)


def test_stopped_it_goes_on_and_gets_more_tasks(tmp_path, monkeypatch, in_this_process):
  whole = tmp_path / "whole"
  run_ceiling(config_of(**{"ceiling.tasks": ("window-open", "drawer-close")}), whole)
  runs = [whole / "ideal" / "torque" / task / "seed0" for task in ("window-open", "drawer-close")]
  assert [[row["step"] for row in rows(run)] for run in runs] == [[8, 16, 24]] * 2
  assert rows(runs[0]) != rows(runs[1])
  result = json.loads((runs[0] / "stages" / "policy.json").read_text())["result"]
  assert result["env_steps"] == 24 and result["episodes"] == 2
  assert (runs[0] / "policy" / "actor.safetensors").is_file()
  assert not (runs[0] / "checkpoints").exists()
  table = (whole / "table.md").read_text().splitlines()
  assert [line.split(" | ")[:3] for line in table[2:]] == [
    ["| window-open", "ideal, torque", "1"], ["| drawer-close", "ideal, torque", "1"],
  ]  # fmt: skip

  # The same in parts: the first stopped in its middle, the second later.
  parts = tmp_path / "parts"
  with monkeypatch.context() as patch:
    patch.setattr(training, "Progress", stopping(14, interrupt))
    with pytest.raises(KeyboardInterrupt):
      run_ceiling(config_of(), parts)
  first = parts / "ideal" / "torque" / "window-open" / "seed0"
  assert [row["step"] for row in rows(first)] == [8]
  run_ceiling(config_of(), parts)
  assert rows(first) == rows(runs[0])
  assert len((parts / "table.md").read_text().splitlines()) == 3
  done = (first / "stages" / "policy.json").stat().st_mtime_ns
  run_ceiling(config_of(**{"ceiling.tasks": ("drawer-close",)}), parts)
  assert (first / "stages" / "policy.json").stat().st_mtime_ns == done
  # What is asked for stands first, what was there before follows.
  groups = find_groups(parts, ("drawer-close",))
  assert [group.task for group in groups] == ["drawer-close", "window-open"]
  assert len((parts / "table.md").read_text().splitlines()) == 4
  assert (parts / "ceiling.html").is_file()


def test_a_run_of_several_seeds_is_as_many_in_the_table(tmp_path, in_this_process):
  settings = {"policy.seeds": 2, "policy.steps": 8, "ceiling.seeds": (0, 2)}
  run_ceiling(config_of(**settings), tmp_path)
  policies = tmp_path / "ideal" / "torque" / "window-open" / "seed2" / "policy"
  assert sorted(path.name for path in policies.iterdir() if path.is_dir()) == ["seed2", "seed3"]
  (row,) = (tmp_path / "table.md").read_text().splitlines()[2:]
  assert row.split(" | ")[:3] == ["| window-open", "ideal, torque", "4"]


@pytest.mark.parametrize(
  ("overrides", "words"),
  [
    ({"ceiling.tasks": ("open-window",)}, r"names of Meta-World tasks .* \['open-window'\]"),
    ({"ceiling.rewards": ("ideal", "sparse")}, r"rewards among ideal, dense, got \['ideal', 'spa"),
    ({"ceiling.controls": ("feet",)}, "controls among torque, end_effector"),
    ({"ceiling.seeds": (0, 2), "policy.seeds": 3}, r"apart, .* got \[0, 2\] with 3 at once; give"),
    ({"ceiling.object_weight": -1.0}, "config.ceiling.object_weight of at least 0.*got -1.0"),
  ],
)
def test_bad_settings(overrides, words, tmp_path):
  with pytest.raises(UserError, match=words):
    run_ceiling(config_of(**overrides), tmp_path)
