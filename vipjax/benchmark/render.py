"""Times steps with a picture each, against Meta-World with its own renderer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from vipjax.benchmark import measure
from vipjax.benchmark.bench import Bench
from vipjax.benchmark.env import stepping
from vipjax.benchmark.peers import PeerSpec
from vipjax.benchmark.results import SuiteResult
from vipjax.envs import Channel, FrameVectorEnv, RobotEnv
from vipjax.runtime import gl
from vipjax.runtime.errors import UserError
from vipjax.scene import View

ABOUT = (
  "Steps of window-open with random actions and one picture of each environment, counted over all "
  "environments; the learner's process gets the picture as a numpy array. Ours: the fast renderer, "
  "one worker process per core, frames in shared memory. Meta-World, unchanged: its own renderer, "
  "Gymnasium's AsyncVectorEnv, one process per environment. On a GPU one process draws for all of "
  "our environments; a table compares that with workers that draw."
)


def run(
  bench: Bench,
  sizes: Sequence[int] = (64, 112, 224),
  num_envs: int = 9,
  steps: int = 2,
  single_sizes: Sequence[int] = (64, 112, 224, 480),
  single_robots: Sequence[str] = ("sawyer", "panda", "jaco"),
  drawn: Sequence[tuple[str, int]] = (("fast", 112), ("full", 112)),
) -> SuiteResult:
  """Measures rendered steps.

  Args:
    bench: measures the cases.
    sizes: heights and widths of the pictures in pixels.
    num_envs: number of environments.
    steps: steps of all environments in a run.
    single_sizes: sizes in the table of a single renderer.
    single_robots: arms in that table.
    drawn: quality and size in the table of who draws.
  """
  cases = []
  for size in sizes:
    settings = {"num_envs": num_envs, "steps": steps, "size": size}
    spec = PeerSpec(
      "Meta-World", "metaworld_vector.metaworld", ("metaworld", "gymnasium"), settings
    )
    with FrameVectorEnv({}, num_envs, [Channel(View())], size) as env:
      name = f"{size} px, {num_envs} environments"
      cases.append(bench.compare(name, "steps", steps * num_envs, stepping(env, steps), [spec]))
  rows = []
  for robot in single_robots:
    try:
      rows += [_single_row(bench, robot, size) for size in single_sizes]
    except UserError as error:  # the files of the other arms need a download
      bench.skipped[robot] = str(error)
  title = f"Pictures per second of one process (MUJOCO_GL={gl.configure()})"
  who = f"Steps per second of {num_envs} environments, by who draws"
  tables = {title: rows, who: drawing_rows(bench.repeats, drawn, num_envs, steps)}
  return SuiteResult("render", ABOUT, cases, bench.skipped, bench.peak, tables)


def drawing_rows(
  repeats: int, drawn: Sequence[tuple[str, int]], num_envs: int, steps: int
) -> list[dict[str, Any]]:
  """Rates of environments that draw themselves and of those for which one process draws.

  Args:
    repeats: number of timings of each.
    drawn: quality and size in pixels of each row.
    num_envs: number of environments.
    steps: steps of all environments in a timing.

  Returns:
    Rows with "quality", "pixels", the steps of all environments per second with "workers" and with
    "one process", and the ratio of the latter to the former by turn.
  """
  found = []
  for quality, size in drawn:
    with contextlib.ExitStack() as stack:

      def opened(drawing: str, quality=quality, size=size) -> FrameVectorEnv:
        options = {"quality": quality}
        return FrameVectorEnv(options, num_envs, [Channel(View())], size, drawing=drawing)

      # Side by side, for starting takes most of the time.
      with ThreadPoolExecutor() as pool:
        envs = [stack.enter_context(env) for env in pool.map(opened, ("workers", "one_process"))]
      works = dict(zip(("workers", "one process"), (stepping(e, steps) for e in envs), strict=True))
      seconds = measure.interleave(works, repeats, warmup=1)
    rates = {who: num_envs * steps / np.array(times) for who, times in seconds.items()}
    row: dict[str, Any] = {"quality": quality, "pixels": str(size)}
    row |= {who: float(np.median(rate)) for who, rate in rates.items()}
    ratio = measure.ratios(rates["one process"], rates["workers"])
    found.append({**row, "one process / workers": ratio.median})
  return found


def _single_row(bench: Bench, robot: str, size: int) -> dict[str, float | str]:
  """Returns rates of one renderer of each quality, without physics, and their ratio by turn."""
  counts = {"fast": 10, "full": 1}
  with contextlib.ExitStack() as stack:
    works = {}
    for quality, count in counts.items():
      env = stack.enter_context(RobotEnv(robot=robot, size=size, quality=quality))
      env.reset(seed=0)
      works[quality] = measure.timed(env.render, times=count)
    seconds = measure.interleave(works, bench.repeats, warmup=1)
  rates = {quality: counts[quality] / np.array(seconds[quality]) for quality in counts}
  row: dict[str, float | str] = {"arm": robot, "pixels": str(size)}
  row |= {quality: float(np.median(rate)) for quality, rate in rates.items()}
  return row | {"fast / full": measure.ratios(rates["fast"], rates["full"]).median}
