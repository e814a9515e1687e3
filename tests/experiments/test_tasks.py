"""Counting how often the experts solve the tasks."""

from __future__ import annotations

import pytest
from ml_collections import ConfigDict

from configs import tasks
from vipjax.experiments import tasks as expert_success
from vipjax.runtime.errors import UserError


def config_of(**overrides) -> ConfigDict:
  config = tasks.get_config()
  small = {"names": ("window-open",), "robots": ("sawyer",), "controls": ("end_effector",)}
  config.tasks.update({**small, "episodes": 1, "horizon": 130, **overrides})
  return config


def test_what_counts_as_solved():
  assert expert_success.solved([200] * 9 + [None])
  assert not expert_success.solved([200] * 8 + [None] * 2)
  assert not expert_success.solved([201] * 10)


def test_the_table():
  results = {
    "sawyer/torque": {"reach": [10, 20, 30, 40], "push": [10, 300, None, None]},
    "jaco/torque": {"reach": [None] * 4},
  }
  assert expert_success.table(results).splitlines() == [
    "| task | sawyer, torque | jaco, torque |",
    "| --- | --- | --- |",
    "| push | 25% (50%) | - |",
    "| reach | 100% | 0% |",
    "| solved in more than 80% | 1 | 0 |",
  ]


def test_measured_once(tmp_path, monkeypatch):
  results = expert_success.measure(config_of(), tmp_path)
  (steps,) = results["sawyer/end_effector"]["window-open"]
  assert 40 < steps < 130
  # A second task is added; the first is not run again.
  written = (tmp_path / expert_success.FILE).read_text().replace(str(steps), "77")
  (tmp_path / expert_success.FILE).write_text(written)
  again = expert_success.measure(config_of(names=("window-open", "reach")), tmp_path)
  assert again["sawyer/end_effector"]["window-open"] == [77]
  assert again["sawyer/end_effector"]["reach"][0] < 130


@pytest.mark.parametrize(
  ("overrides", "words"),
  [
    ({"names": ("open-window",)}, r"expected names of Meta-World tasks .* \['open-window'\]"),
    ({"episodes": 0}, "expected config.tasks.episodes of at least 1 .*got 0"),
  ],
)
def test_bad_settings(overrides, words, tmp_path):
  with pytest.raises(UserError, match=words):
    expert_success.measure(config_of(**overrides), tmp_path)
