"""The fine-tuning run: artefacts, resume, and what it says to bad input."""

import json
import signal

import jax
import numpy as np
import pytest
import safetensors

from configs import demo
from vipjax import encoder
from vipjax.encoder import resnet
from vipjax.runtime.errors import UserError
from vipjax.runtime.progress import Progress
from vipjax.stages import finetune as run_lib
from vipjax.stages import finetune as stage
from vipjax.stages import inputs
from vipjax.stages.finetune import finetune
from vipjax.stages.task import filled
from vipjax.types import Video
from vipjax.videos import write_videos

LENGTH = 8


def config_of(**overrides):
  config = demo.get_config()
  config.update_from_flattened_dict({
    "encoder.init": "scratch", "encoder.width": 8, "encoder.embedding_dim": 8, "encoder.size": 16,
    "encoder.resize": 16,
    "finetune.steps": 4, "finetune.batch_size": 2, "finetune.checkpoint_every": 2,
    **overrides,
  })  # fmt: skip
  return config


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
  """Several devices are tested with the step; here they would only compile for longer.

  So would more than one block of ResNet-18.
  """
  monkeypatch.setattr(run_lib, "step_devices", lambda frames: jax.local_devices()[:1])
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (1,))


@pytest.fixture
def workdir(tmp_path):
  """A run folder with the four videos that `record` makes, of a square that moves."""
  videos = []
  for view in ("left", "right"):
    for visible in (True, False):
      frames = np.full((LENGTH, 24, 24, 3), 40, np.uint8)
      for t in range(LENGTH):
        frames[t, 8:16, 2 * t : 2 * t + 6] = 220 if visible else 120
      videos.append(
        Video(frames, 10.0, view=view, robot_visible=visible, episode=0, source=f"test {view}")
      )
  write_videos(tmp_path / "videos", videos)
  return tmp_path


def beside(workdir, name):
  """Another run folder with the same videos."""
  folder = workdir / name
  folder.mkdir()
  (folder / "videos").symlink_to(workdir / "videos")
  return folder


def stopping(at, act):
  """A progress bar that acts when it is at one of these steps."""

  class Bar(Progress):
    def update(self, items=1, **metrics):
      super().update(items, **metrics)
      if self.count in at:
        act()

  return Bar


def interrupt():
  raise KeyboardInterrupt


def tensors(workdir):
  return (workdir / "encoder" / "model.safetensors").read_bytes()


ICVF = {
  "finetune.loss": "icvf", "encoder.head": "icvf", "finetune.target_rate": 0.5,
  "finetune.tcc.weight": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("overrides", [{}, ICVF], ids=["vip", "icvf"])
def test_interrupted_run_goes_on_as_if_nothing_had_happened(workdir, monkeypatch, overrides):
  config = config_of(**overrides)
  whole = beside(workdir, "whole")
  finetune(config, whole)

  # Ctrl-C after three steps: the third is after the last checkpoint and is lost.
  with monkeypatch.context() as patch:
    patch.setattr(stage, "Progress", stopping((3,), interrupt))
    with pytest.raises(KeyboardInterrupt):
      finetune(config, workdir)
  result = finetune(config, workdir)
  assert result["steps"] == 4
  assert tensors(workdir) == tensors(whole)
  head = encoder.load(workdir).head
  assert (head.name, head.layer_norm) == (config.encoder.head, bool(overrides))
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  assert [row["step"] for row in rows] == [4]


def test_a_rate_at_which_the_heads_of_icvf_die_is_warned_of(workdir, caplog):
  config = config_of(**ICVF, **{"finetune.steps": 1})
  finetune(config, beside(workdir, "even"))
  assert "head_learning_rate" not in caplog.text
  config.finetune.head_learning_rate = 0.01
  finetune(config, workdir)
  assert "head_learning_rate = 0.01, above" in caplog.text


def test_fed_by_the_host_it_is_the_same_run_and_resumes(workdir, monkeypatch):
  finetune(config_of(), workdir)
  fed = beside(workdir, "fed")
  config = config_of(**{"data.resident_mb": 0})

  with monkeypatch.context() as patch:
    patch.setattr(stage, "Progress", stopping((3,), interrupt))
    patch.setattr(run_lib, "make_video_set", None)  # it must not be needed
    with pytest.raises(KeyboardInterrupt):
      finetune(config, fed)
    patch.setattr(stage, "Progress", Progress)
    finetune(config, fed)
  with safetensors.safe_open(workdir / "encoder" / "model.safetensors", "np") as resident:
    with safetensors.safe_open(fed / "encoder" / "model.safetensors", "np") as streamed:
      for name in resident.keys():
        # Two programs: XLA may fuse them differently, and Adam divides by small numbers.
        np.testing.assert_allclose(
          resident.get_tensor(name), streamed.get_tensor(name), rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_the_best_state_may_be_what_is_kept(workdir, monkeypatch):
  given = []

  class FirstIsBest(run_lib.Checkpointer):
    def save(self, step, state, metadata=None, score=None):
      given.append(score)
      super().save(step, state, metadata, -float(step))

  monkeypatch.setattr(run_lib, "Checkpointer", FirstIsBest)
  config = config_of(**{"finetune.steps": 5, "finetune.checkpoint_every": 1})
  config.finetune.artefact = "best"
  finetune(config, workdir)
  kept = sorted(int(path.name) for path in (workdir / "checkpoints" / "finetune").iterdir())
  assert kept == [1, 3, 4, 5]
  assert encoder.load(workdir).metadata["steps"] == 1
  # What the loop itself scores by is minus the loss.
  assert len(given) == 5 and np.isfinite(given).all()
  last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
  np.testing.assert_allclose(given[-1], -last["loss"], rtol=1e-6)
  with pytest.raises(UserError, match="'last' or 'best', got 'first'"):
    finetune(config_of(**{"finetune.artefact": "first"}), workdir / "videos")


def test_sigterm_changes_nothing_not_even_what_is_best(workdir, monkeypatch):
  config = config_of(**{"finetune.artefact": "best", "finetune.steps": 6})
  whole = beside(workdir, "whole")
  finetune(config, whole)

  # Between two checkpoints, and at the end.
  bar = stopping((3, 6), lambda: signal.raise_signal(signal.SIGTERM))
  with monkeypatch.context() as patch:
    patch.setattr(stage, "Progress", bar)
    for _ in range(2):
      with pytest.raises(SystemExit) as stopped:
        finetune(config, workdir)
      assert stopped.value.code == 143
  finetune(config, workdir)
  assert tensors(workdir) == tensors(whole)
  steps = [encoder.load(folder).metadata["steps"] for folder in (workdir, whole)]
  assert steps[0] == steps[1]


def test_it_writes_artefacts_before_and_after_and_does_nothing_twice(workdir):
  config = config_of()
  result = finetune(config, workdir)
  assert result["videos"] == 4 and np.isfinite(result["loss"])
  before = encoder.load(workdir / "encoder_before")
  after = encoder.load(workdir)
  assert after.metadata["trained_on"] == ["test left", "test left", "test right", "test right"]
  frames = np.zeros((1, 24, 24, 3), np.uint8)
  assert not np.array_equal(before.embed(frames), after.embed(frames))
  written = tensors(workdir)
  assert finetune(config, workdir) == result
  assert tensors(workdir) == written


def test_it_starts_from_an_artefact(workdir, tmp_path):
  finetune(config_of(), workdir)
  second = tmp_path / "second"
  second.mkdir()
  (second / "videos").symlink_to(workdir / "videos")
  finetune(config_of(**{"encoder.init": str(workdir)}), second)
  frames = np.full((1, 24, 24, 3), 99, np.uint8)
  started = encoder.load(second / "encoder_before").embed(frames)
  np.testing.assert_array_equal(started, encoder.load(workdir).embed(frames))


def test_it_distils_other_encoders(workdir):
  finetune(config_of(), workdir)
  config = config_of(**{
    "finetune.loss": "distillation", "finetune.teachers": (str(workdir),),
    "finetune.tcc.weight": 0.0,
  })  # fmt: skip
  folder = beside(workdir, "student")
  assert finetune(config, folder)["loss"] > 0
  assert encoder.load(folder).metadata["distilled_from"] == [str(workdir)]


def test_a_progress_head_comes_with_the_encoder(workdir):
  config = config_of(**{"finetune.progress.weight": 1.0, "finetune.progress.pairs": 4})
  finetune(config, workdir)
  frames = encoder.load(workdir / "encoder").embed(np.full((2, 24, 24, 3), 99, np.uint8))
  head = encoder.load(workdir).variables["progress"]
  assert head["kernel"].shape == (2 * frames.shape[1], 20) and np.abs(head["kernel"]).max() > 0
  assert "progress" not in encoder.load(workdir / "encoder_before").variables


@pytest.mark.parametrize(
  ("overrides", "sentence"),
  [
    ({"reward.form": "progress"}, "progress.weight above 0 for config.reward.form = 'progress'"),
    (
      {"finetune.tcc.num_cycles": 20, "finetune.tcc.videos_per_cycle": 5},
      "expected at least 5 videos for TCC cycles of T=5, got 4",
    ),
    ({"finetune.background_clips": 2}, "random motion"),
    ({"finetune.steps": 0}, "at least 1"),
    ({"finetune.loss": "contrastive"}, "'distillation', 'expectile' or 'icvf'"),
    ({"finetune.loss": "distillation"}, "config.finetune.teachers with .* got \\(\\)"),
    ({"finetune.teachers": ("mini",)}, "no other loss, got \\('mini',\\) with 'vip'"),
    (
      {"finetune.loss": "distillation", "finetune.teachers": ("mini",)},
      "teachers that see 16 pixels as the encoder does, got mini with 80",
    ),
    ({"encoder.norm": "layer"}, "batch, group"),
    ({"encoder.head": "iqe"}, "config.encoder.head 'l2', 'icvf' or 'mrn', got 'iqe'"),
    ({"finetune.loss": "icvf"}, "head 'icvf' with config.finetune.loss = 'icvf', got 'l2'"),
    ({"encoder.head": "icvf"}, "head 'l2' or 'mrn' with config.finetune.loss = 'vip', got 'icvf'"),
    (
      {**ICVF, "finetune.discount": 1.0},
      "discount between 0 and 1 with config.encoder.head = 'icvf', got 1.0",
    ),
    ({"finetune.intents.future": 0.9}, "current and future to add up to at most 1, got 0.2 and"),
    ({"encoder.init": "nowhere"}, "nowhere"),
    ({"finetune.sampler.name": "prioritised", "data.resident_mb": 0}, "videos on the device with"),
  ],
)
def test_bad_settings_are_one_sentence(workdir, monkeypatch, overrides, sentence):
  monkeypatch.setitem(resnet.STAGE_SIZES, "resnet18", (2, 2, 2, 2))  # mini's
  with pytest.raises(UserError, match=sentence):
    finetune(config_of(**overrides), workdir)


def test_no_videos_and_one_frame_are_one_sentence(tmp_path):
  with pytest.raises(UserError, match="run launch.record"):
    finetune(config_of(), tmp_path)
  frame = np.zeros((1, 24, 24, 3), np.uint8)
  write_videos(tmp_path / "videos", [Video(frame, 10.0, view=str(i)) for i in range(4)])
  with pytest.raises(UserError, match="2 frames"):
    finetune(config_of(), tmp_path)


def test_videos_of_ones_own_are_brought_to_one_size(workdir, tmp_path):
  frames = np.zeros((3, 30, 40, 3), np.uint8)
  write_videos(tmp_path / "own", [Video(frames, 10.0, view="a")])
  config = config_of(**{"data.path": str(tmp_path / "own"), "data.size": 20})
  videos = inputs.load_videos(config, tmp_path)
  assert [video.frames.shape for video in videos] == [(3, 20, 20, 3)]


def test_too_many_updates_that_are_not_finite_end_the_run_with_their_losses(workdir):
  config = config_of(**{
    "finetune.steps": 40, "finetune.learning_rate": 1e30, "finetune.max_skipped": 3,
  })  # fmt: skip
  sentence = r"updates in a row up to step [0-9]+ .*not finite: .*loss.*videos \(test left"
  with pytest.raises(UserError, match=sentence):
    finetune(config, workdir)
  assert not (workdir / "encoder").exists()


def test_many_steps_in_one_program_are_the_same_steps(workdir, monkeypatch):
  # As on an accelerator: three at a time, the rest one by one, checkpoints after 3 and 6.
  monkeypatch.setattr(stage, "METRICS_EVERY", 1)
  # Hardly learning: one program rounds unlike the other, which learning would amplify.
  rates = {"finetune.learning_rate": 1e-6, "finetune.head_learning_rate": 1e-6}
  config = config_of(**{"finetune.steps": 7, **rates})
  singly = beside(workdir, "singly")
  finetune(config, singly)
  saved = []
  save = run_lib.Checkpointer.save
  monkeypatch.setattr(
    run_lib.Checkpointer, "save", lambda *a, **k: (saved.append(a[1]), save(*a, **k))[1]
  )
  monkeypatch.setattr(run_lib, "steps_per_dispatch", lambda: 3)
  finetune(config, workdir)
  assert saved == [3, 6, 7]
  one, many = (
    [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for folder in (singly, workdir)
  )
  assert [row["step"] for row in many] == [row["step"] for row in one] == [1, 2, 3, 4, 5, 6, 7]
  for name in one[0]:
    if name != "stage":
      np.testing.assert_allclose(
        [row[name] for row in many], [row[name] for row in one], rtol=5e-3, atol=1e-4, err_msg=name
      )


def test_steps_per_dispatch_follow_the_platform(monkeypatch):
  assert run_lib.steps_per_dispatch() == 1
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert run_lib.steps_per_dispatch() == 10


def test_composites_join_the_videos_of_the_vip_loss_alone(workdir):
  options = {"finetune.composites.fixed_arms": 2, "finetune.composites.detours": 1}
  config = filled(config_of(**options))
  result = finetune(config, workdir)
  assert (result["videos"], result["composites"]) == (4, 6)
  assert len(inputs.load_videos(config, workdir)) == 4
  data = run_lib._find_data(config, workdir)
  assert (data.num_task, data.settings.made_videos, len(data.videos)) == (4, 6, 10)
  assert [video.source.split(", ")[-1] for video in data.videos[4:7]] == [
    "fixed arm of frame 3", "fixed arm of frame 7", "detour of frame 7",
  ]  # fmt: skip
  # Fed by the host they are made as they are drawn.
  config.data.resident_mb = 0
  fed = run_lib._find_data(config, workdir)
  for made, drawn in zip(data.videos, fed.videos, strict=True):
    np.testing.assert_array_equal(made.frames, drawn.frames[np.arange(len(drawn.frames))])


def test_composites_without_twins_are_one_sentence(workdir):
  (workdir / "videos" / "videos.json").write_text(json.dumps([{"file": "episode000_left.mp4"}]))
  config = config_of(**{"finetune.composites.detours": 1, "finetune.tcc.weight": 0.0})
  with pytest.raises(UserError, match=r"config\.finetune\.composites, got 1 and 0 like"):
    finetune(config, workdir)
