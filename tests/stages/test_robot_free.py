"""The robot-free encoder's stage: its artefact, resume, and what it says to bad input."""

import json

import numpy as np
import pytest

from tests.stages.test_finetune import beside, config_of, interrupt, one_device, stopping, workdir
from vipjax import encoder
from vipjax.runtime.errors import UserError
from vipjax.stages import updates
from vipjax.stages.agent import require_predictable, robot_free_encoders
from vipjax.stages.finetune import finetune
from vipjax.stages.robot_free import train_robot_free
from vipjax.videos import open_videos

__all__ = ["one_device", "workdir"]


def predicting(**overrides):
  return config_of(**{
    "reward.robot_free": "predicted", "policy.views": ("left",), "robot_free.steps": 4,
    "robot_free.batch_size": 2, **overrides,
  })  # fmt: skip


@pytest.fixture
def tuned(workdir):
  config = predicting()
  finetune(config, workdir)
  return config, workdir


def tensors(workdir):
  folders = [workdir / "encoder_robot_free" / number for number in ("0", "1")]
  return [(folder / "model.safetensors").read_bytes() for folder in folders]


def test_interrupted_it_goes_on_as_if_nothing_had_happened(tuned, monkeypatch):
  config, folder = tuned
  other = beside(folder, "other")
  (other / "encoder").symlink_to(folder / "encoder")
  result = train_robot_free(config, folder)
  assert result["steps"] == 4 and result["scenes"] == result["robots"] == 8
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(updates, "Progress", stopping([3], interrupt))
    train_robot_free(config, other)
  again = train_robot_free(config, other)
  assert again["error"] == result["error"] and tensors(other) == tensors(folder)
  rows = (other / "metrics.jsonl").read_text().splitlines()
  steps = [row["step"] for row in map(json.loads, rows) if row["stage"] == "robot_free"]
  assert steps == [4]


def test_the_artefact_says_whom_it_follows(tuned):
  config, folder = tuned
  train_robot_free(config, folder)
  learnt, _ = robot_free_encoders(config, folder)
  own = encoder.load(folder)
  assert learnt.config == own.config and learnt.metadata["robot_free_of"] == own.metadata["name"]
  frames = open_videos(folder / "videos")[0].read().frames
  assert np.abs(learnt.embed(frames) - own.embed(frames)).max() > 1e-4


def test_robots_of_other_films_join(tuned):
  config, folder = tuned
  (folder / "robots").symlink_to(folder / "videos")
  assert train_robot_free(config, folder)["robots"] == 16


def test_of_ones_own_videos_all_views_count(tuned, tmp_path):
  config, folder = tuned
  config.data.path = str(folder / "videos")
  assert train_robot_free(config, folder)["scenes"] == 16


def test_of_films_that_fail_only_the_robots_count(tuned):
  config, folder = tuned
  config.data.path = str(folder / "videos")
  manifest = folder / "videos" / "videos.json"
  films = json.loads(manifest.read_text())
  for film in films:
    film["success"] = film["view"] == "left"
    film["view"] = "front"
  manifest.write_text(json.dumps(films))
  result = train_robot_free(config, folder)
  assert (result["scenes"], result["robots"]) == (8, 16)


def test_a_film_without_its_twin_is_one_sentence(tuned):
  config, folder = tuned
  manifest = folder / "videos" / "videos.json"
  films = json.loads(manifest.read_text())
  manifest.write_text(json.dumps([film for film in films if film["robot_visible"]]))
  with pytest.raises(UserError, match=r"robot_free = 'predicted', got 1 and 0 like .*; record"):
    train_robot_free(config, folder)


def test_before_it_has_run_the_reward_says_so(tuned):
  config, folder = tuned
  with pytest.raises(UserError, match="encoder_robot_free/0 .* got none; run launch.finetune"):
    robot_free_encoders(config, folder)
  config.reward.robot_free = "drawn"
  assert robot_free_encoders(config, folder) == []


@pytest.mark.parametrize(
  "overrides",
  [
    {"policy.online.every": 10}, {"reward.robot_free_weight": 0.0}, {"reward.form": "progress"},
    {"encoder.head": "mrn"}, {"record.robot_free": False},
  ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_one_sentence(overrides):
  with pytest.raises(UserError, match="robot_free_weight above 0, .* got .* = .*; change these"):
    require_predictable(predicting(**overrides))
  require_predictable(predicting())
