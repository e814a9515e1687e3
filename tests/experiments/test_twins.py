"""The demo from erased twins against drawn ones, at a tiny size."""

import json

import numpy as np
import pytest

from configs.paper import additions
from tests.experiments.test_erasing import config_of
from vipjax.encoder import load, resnet
from vipjax.experiments import runs
from vipjax.experiments.twins import check_twins, run_twins
from vipjax.runtime.errors import UserError
from vipjax.videos import read_videos

SOURCES = ("robot-free", "given")
COMMAND = "python -m launch.erasing --again"


@pytest.fixture
def in_this_process(monkeypatch):
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  monkeypatch.setattr(runs, "share_out", lambda work, jobs, **_: map(work, jobs))


def test_finetuning_from_erased_twins(tmp_path, in_this_process):
  config = config_of(finetune=SOURCES, seeds=(1,))
  page = run_twins(config, tmp_path, additions, COMMAND)
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
  assert run_twins(config, tmp_path, additions, COMMAND) == page


def test_where_frames_are_predicted_no_film_is_drawn_without_the_robot(tmp_path, in_this_process):
  config = config_of(finetune=("given",), seeds=(1,))
  config.record.retreat = 48
  config.reward.robot_free = "predicted"
  config.robot_free.update({"steps": 1, "batch_size": 2, "members": 1, "random_episodes": 1})
  folder = run_twins(config, tmp_path, additions, COMMAND).parent / "given" / "seed1"
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
    check_twins(config)
