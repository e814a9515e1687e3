"""Erased films against truly robot-free ones, on one tiny film."""

import json

import numpy as np
import pytest

from configs import erasing as erasing_config
from vipjax.experiments.erasing import measure, table
from vipjax.runtime.errors import UserError
from vipjax.videos import read_video


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


def test_an_unknown_source(tmp_path):
  with pytest.raises(UserError, match=r"sources among motion, given, model .* got \['sam'\]"):
    measure(config_of(sources=("sam",)), tmp_path)
