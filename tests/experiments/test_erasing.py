"""Erased films against truly robot-free ones, on one tiny film."""

import json

import numpy as np
import pytest

from configs import erasing as erasing_config
from configs.paper import additions
from vipjax.encoder import load, resnet
from vipjax.experiments import runs
from vipjax.experiments.erasing import check_fine_tuning, fine_tune, measure, table
from vipjax.runtime.errors import UserError
from vipjax.videos import read_video, read_videos

SOURCES = ("robot-free", "given")
COMMAND = "python -m launch.erasing --again"


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


@pytest.fixture
def in_this_process(monkeypatch):
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  monkeypatch.setattr(runs, "share_out", lambda work, jobs, **_: map(work, jobs))


def test_finetuning_from_erased_twins(tmp_path, in_this_process):
  config = config_of(finetune=SOURCES, seeds=(1,))
  page = fine_tune(config, tmp_path, additions, COMMAND)
  assert page == tmp_path / "finetune" / "twins.html" and "drawn and erased" in page.read_text()
  header, _, drawn, given = (page.parent / "table.md").read_text().splitlines()
  assert "rank correlation, unseen" in header and "hack price" in header
  assert drawn.startswith("| robot-free (1) | ") and given.startswith("| given (1) | ")
  assert json.loads((page.parent / "given" / "seed1" / "results.json").read_text())["command"] == (
    COMMAND
  )
  encoders = [page.parent / source / "seed1" / "encoder" for source in SOURCES]
  frames = read_videos(page.parent / "given" / "seed1" / "unseen")[0].frames
  embedded = [load(encoder).embed(frames) for encoder in encoders]
  assert np.isfinite(embedded).all() and not np.array_equal(*embedded)
  # The reward draws: its goals are drawn, too, whatever was fine-tuned from.
  films = (read_videos(page.parent / source / "seed1" / "videos") for source in SOURCES)
  for one, other in zip(*films, strict=True):
    np.testing.assert_array_equal(one.frames, other.frames)
  # Finished runs stay.
  (page.parent / "given" / "seed1" / "videos").rename(tmp_path / "away")
  assert fine_tune(config, tmp_path, additions, COMMAND) == page


def test_where_frames_are_predicted_no_film_is_drawn_without_the_robot(tmp_path, in_this_process):
  config = config_of(finetune=("given",), seeds=(1,))
  config.record.retreat = 48
  config.reward.robot_free = "predicted"
  config.robot_free.update({"steps": 1, "batch_size": 2, "members": 1, "random_episodes": 1})
  folder = fine_tune(config, tmp_path, additions, COMMAND).parent / "given" / "seed1"
  for name, tail in (("videos", 8), ("robots", 0)):
    recorded, erased = (read_videos(folder / part / name) for part in ("recorded", ""))
    for whole, other in zip(recorded, erased, strict=True):
      # The films are the same but for the hand that leaves; the twins are near.
      one = whole.first(len(whole.frames) - tail)
      error = np.abs(one.frames.astype(int) - other.frames)
      assert one.metadata() == other.metadata()
      assert (error == 0).all() == one.robot_visible and error.mean() < 8
      if tail:  # The hand that left has shown the open window.
        assert error[-1].mean() < 1
  assert (folder / "encoder_robot_free" / "0").exists()


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"erasing.finetune": ("model",)}, r"robot-free, given, motion, .* got \['model'\]"),
    ({"erasing.finetune": ("given", "given")}, "each once, .* got"),
    ({"policy.seeds": 2, "erasing.seeds": (0, 1)}, "config.erasing.seeds at least"),
    ({"record.robot_free": False}, "record.robot_free = True .* got False and 'mp4'"),
    ({"record.format": "tfds"}, "record.format = 'mp4' .* got True and 'tfds'"),
    ({"reward.robot_free": "predicted", "encoder.head": "mrn"}, "encoder.head = 'mrn'"),
  ],
)
def test_what_cannot_be_run_is_refused_at_once(changes, sentence):
  config = config_of(finetune=SOURCES)
  config.update_from_flattened_dict(changes)
  with pytest.raises(UserError, match=sentence):
    check_fine_tuning(config)


def test_an_unknown_source(tmp_path):
  with pytest.raises(UserError, match=r"sources among motion, given, model .* got \['sam'\]"):
    measure(config_of(sources=("sam",)), tmp_path)
