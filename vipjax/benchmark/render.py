"""Times steps with a picture each, against Meta-World with its own renderer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

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
  "Gymnasium's AsyncVectorEnv, one process per environment."
)


def run(
  bench: Bench,
  sizes: Sequence[int] = (64, 112, 224),
  num_envs: int = 9,
  steps: int = 2,
  single_sizes: Sequence[int] = (64, 112, 224, 480),
  single_robots: Sequence[str] = ("sawyer", "panda", "jaco"),
) -> SuiteResult:
  """Measures rendered steps.

  Args:
    bench: measures the cases.
    sizes: heights and widths of the pictures in pixels.
    num_envs: number of environments.
    steps: steps of all environments in a run.
    single_sizes: sizes in the table of a single renderer.
    single_robots: arms in that table.
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
  return SuiteResult("render", ABOUT, cases, bench.skipped, bench.peak, {title: rows})


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
