"""Pretraining in stages: what goes on from what, and that what is done is kept."""

import jax
import pytest

from configs import pretrain as config_lib
from vipjax import encoder
from vipjax.encoder import resnet
from vipjax.experiments.pretraining import pretrain, record_stages
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError
from vipjax.stages import finetune as run_lib
from vipjax.videos import read_videos


def config_of(**overrides):
  config = config_lib.get_config()
  config.update_from_flattened_dict({
    "corpus.only": ("drawer-open",), "corpus.controls": ("torque",), "corpus.expert_episodes": 1,
    "corpus.recovering_episodes": 0, "corpus.noisy_episodes": 0, "corpus.random_episodes": 0,
    "corpus.size": 24, "corpus.frame_stride": 8, "encoder.width": 8, "encoder.embedding_dim": 8,
    "encoder.size": 16, "encoder.resize": 16, "finetune.steps": 2, "finetune.batch_size": 2,
    "pretrain.stages": ("base", "gamma96", "ensemble"), "pretrain.gamma96.finetune.steps": 1,
    "pretrain.gamma96.corpus.frame_stride": 16, "pretrain.ensemble.finetune.steps": 1,
    "pretrain.ensemble.finetune.teachers": ("base", "gamma96"), **overrides,
  })  # fmt: skip
  return config.lock()  # as a launcher's is


def test_stages_go_on_from_and_are_taught_by_earlier_ones(tmp_path, monkeypatch):
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))
  monkeypatch.setattr(run_lib, "step_devices", lambda frames: jax.local_devices()[:1])
  config = config_of()
  workdir = run_folder.open_run(tmp_path / "run", config)
  recorded = record_stages(config, workdir)
  results = pretrain(config, workdir)
  assert {name: result["steps"] for name, result in results.items()} == {
    "base": 2, "gamma96": 1, "ensemble": 1,
  }  # fmt: skip
  videos = {name: read_videos(workdir / name / "videos" / "drawer-open") for name in results}
  assert {name: (len(v), v[0].fps) for name, v in videos.items()} == {
    "base": (4, 10.0), "gamma96": (4, 5.0), "ensemble": (4, 10.0),
  }  # fmt: skip
  assert all(recorded[name]["videos"] == results[name]["videos"] == 4 for name in results)
  # The corpus of far is that of together.
  assert (workdir / "ensemble" / "videos").resolve() == workdir / "base" / "videos"
  places = ("base/encoder", "gamma96/encoder_before", "gamma96/encoder", "ensemble/encoder_before",
    "ensemble/encoder", "encoder")  # fmt: skip
  far, near_before, near, before, last, whole = (
    encoder.load(workdir / place).embed(videos["base"][0].frames) for place in places
  )
  assert (far == near_before).all() and (near != far).any() and (near == before).all()
  assert (last != near).any() and (whole == last).all()
  assert encoder.load(workdir / "ensemble").metadata["distilled_from"] == [
    str(workdir / name / "encoder") for name in ("base", "gamma96")
  ]
  metadata = encoder.load(workdir).metadata
  assert (metadata["fine_tuned_from"], metadata["steps"]) == ("scratch", 4)
  assert metadata["stages"] == {"base": 2, "gamma96": 1, "ensemble": 1}
  assert "distilled_from" not in metadata
  # A second call finds it all.
  stamps = {file: file.stat().st_mtime_ns for file in workdir.glob("*/stages/*.json")}
  assert len(stamps) == 6 and pretrain(config, workdir) == results
  assert stamps == {file: file.stat().st_mtime_ns for file in stamps}


def test_the_encoder_says_what_its_first_stage_began_from(tmp_path, monkeypatch):
  monkeypatch.setattr(run_lib, "step_devices", lambda frames: jax.local_devices()[:1])
  config = config_of(**{"pretrain.stages": ("gamma96",), "pretrain.gamma96.encoder.init": "mini",
    "encoder.width": 16, "encoder.embedding_dim": 128})  # fmt: skip
  workdir = run_folder.open_run(tmp_path / "run", config)
  pretrain(config, workdir)
  assert encoder.load(workdir).metadata["fine_tuned_from"] == "mini"


@pytest.mark.parametrize("stages", [(), ("base", "nearer"), ("stages",)])
def test_stages_that_are_not_declared_are_one_sentence(tmp_path, stages):
  with pytest.raises(
    UserError,
    match=r"got \(.*\); choose among base, ensemble, gamma96, gamma97, gamma97_96, mini, plain",
  ):
    pretrain(config_of(**{"pretrain.stages": stages}), tmp_path)
