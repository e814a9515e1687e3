"""Erased films against truly robot-free ones, on one tiny film."""

import json

import numpy as np
import pytest

from configs import erasing as erasing_config
from vipjax.encoder import resnet
from vipjax.experiments.erasing import fine_tune, fine_tuned_table, measure, table
from vipjax.runtime.errors import UserError
from vipjax.videos import read_video, read_videos


def config_of(**overrides):
  config = erasing_config.get_config()
  config.record.update({"size": 48, "frame_stride": 6})
  config.encoder.update(
    {"init": "scratch", "width": 8, "embedding_dim": 8, "size": 16, "resize": 16}
  )
  config.finetune.update({"steps": 2, "batch_size": 2})
  config.evaluate.update({"unseen_episodes": 1, "off_path_episodes": 1})
  config.erasing.update({"tasks": ("window-open",), "robots": ("sawyer",), **overrides})
  return config


def test_true_and_drawn_masks_come_near_to_the_film_without_a_robot(tmp_path):
  results = measure(config_of(), tmp_path)
  assert list(results) == ["window-open/sawyer"]
  film = results["window-open/sawyer"]
  assert list(film) == ["not erased", "motion", "given", "model", "robot-free", "camera"]
  assert set(film["robot-free"].values()) - {film["robot-free"]["rank_correlation"]} == {0.0}
  plain = film["not erased"]
  for source in ("given", "model"):
    assert film[source]["mask_error"] < 0.2 * plain["mask_error"]
    assert film[source]["embedding"] < 0.5 * plain["embedding"]
    assert film[source]["embedding_seen"] <= film[source]["embedding"]
    assert 0 < film[source]["flat"] < 0.5
  assert plain["flat"] == 0 and plain["other_error"] == 0
  frames = read_video(tmp_path / "films" / "window-open_sawyer.mp4").frames
  assert frames.shape[1:] == (48, 6 * 48, 3)
  lines = table(results).splitlines()
  assert lines[0].startswith("| masks | mask error |") and lines[3].startswith("| motion |")
  assert lines[10].startswith("| window-open, sawyer |")
  assert lines[-4].startswith("| static | ")
  # What is there is not measured again.
  file = tmp_path / "erasing.json"
  saved = json.loads(file.read_text())
  saved["window-open/sawyer"]["given"]["flat"] = 0.125
  file.write_text(json.dumps(saved))
  assert measure(config_of(), tmp_path) == saved
  assert np.isfinite(list(film["motion"].values())).all()


def test_finetuning_from_erased_twins(tmp_path, monkeypatch):
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  results = fine_tune(config_of(finetune=("given",)), tmp_path)
  assert list(results) == ["robot-free", "given"]
  for numbers in results.values():
    assert -1 <= numbers["rank_correlation_unseen"] <= 1 and -1 <= numbers["off_path"] <= 1
  drawn, erased = (read_videos(tmp_path / "finetune" / name / "videos") for name in results)
  for one, other in zip(drawn, erased, strict=True):
    # The films are the same; the twins are near.
    error = np.abs(one.frames.astype(int) - other.frames).mean()
    assert one.metadata() == other.metadata() and (error == 0) == one.robot_visible and error < 8
  assert fine_tuned_table(results).splitlines()[3].startswith("| given | ")
  with pytest.raises(UserError, match=r"'motion' or 'given' .* got \['model'\]"):
    fine_tune(config_of(finetune=("model",)), tmp_path)


def test_an_unknown_source(tmp_path):
  with pytest.raises(UserError, match=r"sources among motion, given, model .* got \['sam'\]"):
    measure(config_of(sources=("sam",)), tmp_path)
