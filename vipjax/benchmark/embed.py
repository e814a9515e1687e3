"""Times embedding, from frames in memory to embeddings in memory, against PyTorch."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Sequence

import jax
import numpy as np

from vipjax.benchmark import floor, measure
from vipjax.benchmark.bench import Bench
from vipjax.benchmark.peers import PeerSpec
from vipjax.benchmark.results import Case, SuiteResult
from vipjax.encoder import Preprocessing, ResNetConfig, ValueFunction, init_value
from vipjax.encoder.weights.torch_layout import PREFIX, to_state_dict

ABOUT = (
  "`ValueFunction.embed`: uint8 frames at the network's input size to float32 embeddings, as numpy "
  "arrays on both sides. PyTorch (eager, inference mode, channels last) embeds the same frames "
  "with the same weights; `difference` in the JSON is the largest absolute difference of its "
  "embeddings from ours, divided by our largest absolute value."
)


def run(
  bench: Bench,
  archs: Sequence[str] = ("resnet18", "resnet50"),
  width: int = 64,
  size: int = 224,
  frames: int = 16,
  sweep_sizes: Sequence[int] = (64, 112, 224),
  sweep_batches: Sequence[int] = (1, 8, 32),
) -> SuiteResult:
  """Measures embedding.

  Args:
    bench: measures the cases.
    archs: architectures to compare with PyTorch.
    width: width of the networks.
    size: pixels of their input.
    frames: number of frames in a run.
    sweep_sizes, sweep_batches: sizes in the table of rates of the first architecture.
  """
  cases = [_case(bench, ResNetConfig(arch, width), size, frames) for arch in archs]
  rows = []
  for pixels in sweep_sizes:
    row: dict[str, float | str] = {"pixels": str(pixels)}
    for batch in sweep_batches:
      seconds = _sweep(bench, ResNetConfig(archs[0], width), pixels, batch)
      row[f"{batch} frames at a time"] = batch / seconds
    rows.append(row)
  tables = {f"Frames per second of {archs[0]} (one program for the whole batch)": rows}
  return SuiteResult("embed", ABOUT, cases, bench.skipped, bench.peak, tables)


def _case(bench: Bench, config: ResNetConfig, size: int, count: int) -> Case:
  value = _value(config, size)
  frames = _frames(count, size)
  ours = value.embed(frames)
  # One program for all frames: the work does not depend on the chunks.
  cost = floor.count(jax.jit(value.embed_fn), value.variables, frames)
  with tempfile.TemporaryDirectory() as folder:
    paths = {name: str(pathlib.Path(folder) / name) for name in ("frames", "state", "result")}
    paths = {name: f"{path}.{'npz' if name == 'state' else 'npy'}" for name, path in paths.items()}
    np.save(paths["frames"], frames)
    state = to_state_dict(value.config, value.variables)
    # By torchvision's names, without the released format's prefix.
    np.savez(paths["state"], **{key.removeprefix(PREFIX): state[key] for key in state})
    settings = {"arch": config.arch, "width": config.width, "embedding_dim": config.embedding_dim}
    peer = PeerSpec("PyTorch", "pytorch.embed", ("torch", "numpy"), {**settings, **paths})
    case = bench.compare(
      f"{config.arch} at {size} px, {count} frames", "frames", count,
      measure.timed(value.embed, frames), [peer], cost,
    )  # fmt: skip
    if "PyTorch" in case.seconds:
      difference = np.abs(np.load(paths["result"]) - ours).max() / np.abs(ours).max()
      case.facts["difference"] = float(difference)
  return case


def _sweep(bench: Bench, config: ResNetConfig, size: int, batch: int) -> float:
  value = _value(config, size)
  frames, variables = jax.device_put((_frames(batch, size), value.variables))
  run_once = measure.timed(jax.jit(value.embed_fn), variables, frames)
  return measure.median_seconds(run_once, bench.repeats)


def _value(config: ResNetConfig, size: int) -> ValueFunction:
  return init_value(jax.random.key(0), config, Preprocessing(size, size))


def _frames(count: int, size: int) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
