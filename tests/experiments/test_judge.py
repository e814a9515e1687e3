"""Judging encoders on other tasks, on one tiny task."""

import json

import jax
import pytest

from configs import judge as judge_config
from vipjax import encoder
from vipjax.experiments.judge import judge, table
from vipjax.runtime.errors import UserError
from vipjax.stages.inputs import make_encoder


def config_of(**overrides):
  config = judge_config.get_config()
  config.update_from_flattened_dict({
    "record.size": 24, "encoder.size": 16, "encoder.resize": 16, "encoder.width": 8,
    "encoder.embedding_dim": 8, "judge.tasks": (("drawer-close", "torque"),),
    "judge.encoders": ("random",), "evaluate.unseen_episodes": 1,
    "evaluate.off_path_episodes": 1, "env.horizon": 120, **overrides,
  })  # fmt: skip
  return config


def test_it_judges_each_encoder_once_and_goes_on(tmp_path):
  results = judge(config_of(), tmp_path)
  numbers = results["drawer-close"]["random"]
  assert list(numbers) == [
    "rank_correlation", "progress", "hand", "object", "progress_disturbed", "object_disturbed",
    "object_robot_free", "object_disturbed_robot_free", "success", "hack_price",
  ]  # fmt: skip
  assert -1 <= numbers["rank_correlation"] <= 1 and -1 <= numbers["progress"] <= 1
  assert 0 < numbers["hack_price"] < 2
  made = sorted(path.name for path in (tmp_path / "tasks/drawer-close/put_back").iterdir())
  assert made == [f"{view}_{which}.png" for view in ("front", "side")
                  for which in ("first", "last", "put_back")]  # fmt: skip
  lines = table(results).splitlines()
  assert lines[0].startswith("| task | encoder | rank correlation |")
  assert lines[2].startswith("| drawer-close | random | ")
  # What is there is taken as it is; another encoder is judged beside it on the same films.
  saved = json.loads((tmp_path / "judge.json").read_text())
  saved["drawer-close"]["random"]["progress"] = 0.125
  (tmp_path / "judge.json").write_text(json.dumps(saved))
  stamp = (tmp_path / "tasks" / "drawer-close" / "videos" / "videos.json").stat().st_mtime_ns
  scratch = config_of(**{"encoder.init": "scratch"})
  encoder.save(tmp_path / "other", make_encoder(scratch.encoder, jax.random.key(scratch.seed)))
  both = judge(config_of(**{"judge.encoders": ("random", str(tmp_path / "other"))}), tmp_path)
  assert both["drawer-close"]["random"]["progress"] == 0.125
  other = both["drawer-close"][str(tmp_path / "other")]
  assert other["rank_correlation"] == pytest.approx(numbers["rank_correlation"])
  assert other["progress"] == pytest.approx(numbers["progress"])
  after = (tmp_path / "tasks" / "drawer-close" / "videos" / "videos.json").stat().st_mtime_ns
  assert after == stamp


def test_an_encoder_named_twice(tmp_path):
  with pytest.raises(UserError, match="once in config.judge.encoders, got random twice"):
    judge(config_of(**{"judge.encoders": ("random", "random")}), tmp_path)
