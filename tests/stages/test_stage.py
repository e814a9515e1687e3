"""What makes a function a stage: once for a run folder, with its result and its seconds."""

import math

import pytest

from configs import demo
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.stages.stage import Resumed, not_finite, stage


def test_work_is_done_once_unless_asked_again(tmp_path):
  calls = []

  @stage("count")
  def count(config, workdir, more=0):
    calls.append(more)
    return {"calls": len(calls), "none": math.nan, "pair": (1, 2)}

  config = demo.get_config()
  first = count(config, tmp_path, 7)
  assert first == {"calls": 1, "none": None, "pair": [1, 2]} == count(config, tmp_path)
  assert count(config, tmp_path, again=True)["calls"] == 2
  assert calls == [7, 0] and run_folder.stage_result(tmp_path, "count")["calls"] == 2
  assert 0 <= run_folder.stage_seconds(tmp_path, "count") < 60


def test_seconds_of_earlier_legs_count(tmp_path):
  @stage("long")
  def long(config, workdir):
    return Resumed({"steps": 3}, 1000.0)

  assert long(demo.get_config(), tmp_path) == {"steps": 3}
  assert run_folder.stage_seconds(tmp_path, "long") >= 1000


def test_numbers_are_checked_before_any_work(tmp_path):
  @stage("never")
  def never(config, workdir):
    raise AssertionError

  config = demo.get_config()
  config.policy.steps = 0
  with pytest.raises(UserError, match="config.policy.steps of at least 1 .* got 0"):
    never(config, tmp_path)
  assert not run_folder.stage_done(tmp_path, "never")


def test_an_error_names_what_is_not_finite():
  error = not_finite({"loss": math.nan, "weight": 1.0}, 3, 40, "lower it")
  assert "got none in 3 updates in a row up to step 40" in str(error)
  assert "(not finite: loss); lower it, and go on from the last checkpoint" in str(error)
