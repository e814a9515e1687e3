"""Recordings for Rerun, read back by its own reader."""

import sys

import jax
import numpy as np
import pytest

from tests.videos.clips import moving_picture
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.report import own_videos
from vipjax.report.rerun_export import rerun_package, write_rerun
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "rerun", None)
  with pytest.raises(UserError, match="pip install rerun-sdk, or leave the flag out"):
    rerun_package()


@pytest.mark.filterwarnings("default")  # the package's own
def test_frames_distances_and_maps_over_time(tmp_path):
  pytest.importorskip("rerun")
  chunks = pytest.importorskip("rerun.chunk")
  config = ResNetConfig("resnet18", width=8, embedding_dim=4)
  value = init_value(jax.random.key(0), config, Preprocessing(32, 32))
  np.savez(tmp_path / "a.npz", frames=moving_picture(4, 32, 48), fps=5.0)
  (measured,) = own_videos.measure(value, open_videos(tmp_path / "a.npz"))
  for _ in range(2):  # the second replaces the first
    write_rerun(tmp_path / "out" / "a.rrd", value, measured)
  rows, times, numbers = {}, {}, {}
  for chunk in chunks.RrdReader(tmp_path / "out" / "a.rrd").stream():
    table, path = chunk.to_record_batch(), chunk.entity_path
    rows[path] = rows.get(path, 0) + chunk.num_rows
    if "time" in table.schema.names:  # nanoseconds
      times.setdefault(path, []).extend(table["time"].cast("int64").to_pylist())
    if "Scalars:scalars" in table.schema.names:
      scalars = [number for (number,) in table["Scalars:scalars"].to_pylist()]
      numbers.setdefault(path, []).extend(scalars)
  recorded = {path: count for path, count in rows.items() if not path.startswith("/__")}
  assert recorded == {"/frame": 4, "/grad_cam": 4, "/distance": 4, "/reward": 3, "/goal/0": 1}
  np.testing.assert_allclose(np.array(times["/frame"]) / 1e9, [0, 0.2, 0.4, 0.6])
  np.testing.assert_allclose(numbers["/distance"], measured.curve.distances)
  np.testing.assert_allclose(numbers["/reward"], -np.diff(measured.curve.distances), atol=1e-6)
  assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.rrd"]
