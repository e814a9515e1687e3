"""Metrics: lines, resuming, TensorBoard."""

import io
import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2

from vipjax.runtime import metrics
from vipjax.runtime.errors import UserError


def read_events(workdir, stage):
  """The TensorBoard events of a stage: length (8 bytes), checksum (4), event, checksum (4)."""
  events = []
  for path in sorted((workdir / "tensorboard" / stage).glob("events.*")):
    data, at = path.read_bytes(), 0
    while at < len(data):
      length = int.from_bytes(data[at : at + 8], "little")
      events.append(event_pb2.Event.FromString(data[at + 12 : at + 12 + length]))
      at += 12 + length + 4
  return events


def test_scalars_of_all_kinds_become_lines(tmp_path):
  with metrics.MetricsWriter(tmp_path, "finetune") as writer:
    writer.write(1, {"loss": jnp.float32(0.5), "steps": np.int64(3), "done": True, "rate": 2.0})
    writer.write(jnp.int32(2), {"half/value": jnp.bfloat16(1.5), "loss": np.array([0.25])})
  assert (tmp_path / "metrics.jsonl").read_text().splitlines() == [
    '{"step": 1, "stage": "finetune", "loss": 0.5, "steps": 3, "done": true, "rate": 2.0}',
    '{"step": 2, "stage": "finetune", "half/value": 1.5, "loss": 0.25}',
  ]


def test_not_a_number_is_null_in_the_file(tmp_path):
  with metrics.MetricsWriter(tmp_path, "finetune") as writer:
    writer.write(1, {"loss": float("nan"), "value": jnp.inf})
  assert metrics.read_metrics(tmp_path) == [
    {"step": 1, "stage": "finetune", "loss": None, "value": None}
  ]


def test_lines_are_on_the_disk_at_once(tmp_path):
  with metrics.MetricsWriter(tmp_path, "finetune") as writer:
    writer.write(1, {"loss": 1.0})
    assert len(metrics.read_metrics(tmp_path)) == 1


def test_a_resumed_run_continues_as_if_nothing_had_happened(tmp_path):
  uninterrupted, interrupted = tmp_path / "a", tmp_path / "b"
  for workdir in (uninterrupted, interrupted):
    with metrics.MetricsWriter(workdir, "finetune") as writer:
      writer.write(1, {"loss": 0.1})
  with metrics.MetricsWriter(uninterrupted, "policy") as writer:
    for step in range(6):
      writer.write(step, {"loss": step / 10})
  with metrics.MetricsWriter(interrupted, "policy") as writer:
    for step in range(5):
      writer.write(step, {"loss": step / 10})
  # Killed in the middle of a line; the last checkpoint is of step 2.
  with (interrupted / "metrics.jsonl").open("a") as file:
    file.write('{"step": 5, "sta')
  with metrics.MetricsWriter(interrupted, "policy", resume_step=2) as writer:
    for step in range(3, 6):
      writer.write(step, {"loss": step / 10})
  expected = (uninterrupted / "metrics.jsonl").read_text()
  assert (interrupted / "metrics.jsonl").read_text() == expected
  assert len(metrics.read_metrics(interrupted, "policy")) == 6
  assert len(metrics.read_metrics(interrupted, "finetune")) == 1


def test_a_stage_that_starts_from_nothing_drops_its_own_lines_only(tmp_path):
  for stage in ("finetune", "policy"):
    with metrics.MetricsWriter(tmp_path, stage) as writer:
      writer.write(0, {"loss": 1.0})
  metrics.MetricsWriter(tmp_path, "policy").close()
  assert [line["stage"] for line in metrics.read_metrics(tmp_path)] == ["finetune"]


def test_tensorboard_gets_scalars_and_pictures_and_forgets_what_was_lost(tmp_path):
  with metrics.MetricsWriter(tmp_path, "policy") as writer:
    writer.write(3, {"loss": 0.5})
    writer.image(3, "goal", np.zeros((4, 6, 3), np.uint8))
  with metrics.MetricsWriter(tmp_path, "policy", resume_step=1) as writer:
    writer.write(2, {"loss": 0.25})
  events = read_events(tmp_path, "policy")
  values = [(event.step, value) for event in events for value in event.summary.value]
  scalars = [(step, v.tag, v.simple_value) for step, v in values if not v.HasField("image")]
  assert scalars == [(3, "loss", 0.5), (2, "loss", 0.25)]
  ((step, picture),) = [(step, v) for step, v in values if v.HasField("image")]
  assert (step, picture.tag, picture.image.height, picture.image.width) == (3, "goal", 4, 6)
  starts = [e.step for e in events if e.session_log.status == event_pb2.SessionLog.START]
  assert starts[-1] == 2


def test_parts_of_a_stage_are_runs_of_their_own_in_tensorboard(tmp_path):
  with metrics.MetricsWriter(tmp_path, "policy", parts=["seed0", "seed1"]) as writer:
    writer.write(3, {"loss": 0.5, "seed0/loss": 0.25, "seed1/loss": 0.75, "other/loss": 1.0})
    writer.film(3, "seed1/episode", np.zeros((2, 4, 6, 3), np.uint8), 10.0)
    writer.image(3, "seed0/goal", np.zeros((4, 6, 3), np.uint8))
  rows = metrics.read_metrics(tmp_path, "policy")
  assert rows[0]["seed1/loss"] == 0.75
  with metrics.MetricsWriter(tmp_path, "policy", resume_step=3, parts=["seed0", "seed1"]) as writer:
    writer.write(4, {"seed1/loss": 0.5})
  assert metrics.read_metrics(tmp_path, "policy")[0] == rows[0]

  def tags(run):
    return [value.tag for event in read_events(tmp_path, run) for value in event.summary.value]

  assert tags("policy/seed0") == ["loss", "goal"]
  assert tags("policy/seed1") == ["loss", "episode", "loss"]
  assert tags("policy") == ["loss", "other/loss"]
  parts = metrics.split_parts(metrics.read_metrics(tmp_path, "policy"))
  assert list(parts) == ["seed0", "seed1", "other"]
  assert parts["seed1"] == [{"step": 3, "loss": 0.75}, {"step": 4, "loss": 0.5}]
  assert metrics.split_parts([{"step": 1, "stage": "policy", "loss": 1.0}]) == {}


def test_a_film_is_a_gif_that_browsers_play_at_its_speed(tmp_path):
  frames = np.zeros((40, 4, 6, 3), np.uint8)
  frames[:, :, :3] = np.arange(40, dtype=np.uint8)[:, None, None, None] * 6
  with metrics.MetricsWriter(tmp_path, "policy") as writer:
    writer.film(7, "episode", frames, 40.0)
  ((step, value),) = [(e.step, v) for e in read_events(tmp_path, "policy") for v in e.summary.value]
  assert (step, value.tag, value.image.height, value.image.width) == (7, "episode", 4, 6)
  film = Image.open(io.BytesIO(value.image.encoded_image_string))
  # Every second frame, twice as long.
  assert (film.format, film.n_frames, film.info["duration"], film.info["loop"]) == (
    "GIF",
    20,
    50,
    0,
  )
  film.seek(3)
  np.testing.assert_array_equal(np.asarray(film.convert("RGB")), frames[6])


def test_wrong_metrics_are_refused(tmp_path):
  with metrics.MetricsWriter(tmp_path, "policy") as writer:
    with pytest.raises(UserError, match=r"'loss', got an array of shape \(2,\).*reduce it first"):
      writer.write(0, {"loss": jnp.ones(2)})
    with pytest.raises(UserError, match="'name', got an array"):
      writer.write(0, {"name": "text"})
    with pytest.raises(UserError, match="not called .*, got 'stage'"):
      writer.write(0, {"stage": 1.0})
    with pytest.raises(UserError, match=r"the picture 'goal' to be uint8 \[H, W, 3\]"):
      writer.image(0, "goal", np.zeros((4, 6, 3), np.float32))
    with pytest.raises(UserError, match=r"'goal' to be .*T, H, W, 3.*got uint8 \[4, 6, 3\]"):
      writer.film(0, "goal", np.zeros((4, 6, 3), np.uint8), 10.0)
  assert metrics.read_metrics(tmp_path) == []


def test_a_file_of_something_else_is_not_eaten(tmp_path):
  (tmp_path / "metrics.jsonl").write_text("a diary\n")
  with pytest.raises(UserError, match="'step' and 'stage'.*'a diary'.*move the file away"):
    metrics.MetricsWriter(tmp_path, "policy")
  assert (tmp_path / "metrics.jsonl").read_text() == "a diary\n"


def test_no_metrics_yet(tmp_path):
  assert metrics.read_metrics(tmp_path) == []
  assert json.dumps(metrics.read_metrics(tmp_path, "policy")) == "[]"
