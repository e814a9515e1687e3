"""What the published experiment takes on this machine, in parts that each run by themselves.

`launch/gpu_check.sh` runs each part in a process of its own with a limit of its own; what did not
end stands in the table as not measured.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from vipjax.benchmark import floor, measure, pipeline, render, sac, trace
from vipjax.encoder import Preprocessing, ResNetConfig, compute_dtype, init_value
from vipjax.envs import Channel, FrameVectorEnv
from vipjax.finetune import Settings, TccSettings, init_state, make_train_step, scan_steps
from vipjax.finetune.step import frames_per_step
from vipjax.runtime import files
from vipjax.runtime.versions import current_versions
from vipjax.sac import LoopSettings, SacSettings, init_agent, init_loop, train_loop
from vipjax.scene import View
from vipjax.types import VideoSet

PLACES = ("on the device", "from NumPy")  # where frames are that are embedded


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How much the parts measure; the defaults are the published experiment's.

  Attributes:
    config: the encoder.
    preprocessing: its input.
    pixels: of videos and pictures.
    drawn: quality and size of pictures whose drawing is measured.
    num_envs: number of environments.
    steps: steps of all environments in a timing.
    batches: frames embedded in a call.
    frames: frames that `ValueFunction.embed` gets.
    clips: clips in a batch, by the training steps that one program does; with TCC the first alone.
    length: frames of a video.
    tcc: of the published step.
    agents: numbers of agents that learn at once.
    updates: updates in a call.
    replay: transitions.
    sac: the agent.
    repeats: number of timings of each.
    demo: further flags of the demo.
  """

  config: ResNetConfig = ResNetConfig("resnet50")
  preprocessing: Preprocessing = Preprocessing()
  pixels: int = 480
  drawn: tuple[tuple[str, int], ...] = tuple(
    (quality, size) for size in (112, 224, 480) for quality in ("fast", "full")
  )
  num_envs: int = 9
  steps: int = 20
  batches: tuple[int, ...] = (9, 256)
  frames: int = 1024
  clips: tuple[tuple[int, int], ...] = ((4, 10), (64, 2), (256, 1))
  length: int = 90
  tcc: TccSettings = TccSettings()
  agents: tuple[int, ...] = (1, 3, 9)
  updates: int = 50
  replay: int = 1_000_000
  sac: SacSettings = SacSettings()
  repeats: int = 5
  demo: tuple[str, ...] = ()


SMALL = Sizes(
  config=ResNetConfig("resnet18", width=8, embedding_dim=8),
  preprocessing=Preprocessing(16, 16),
  pixels=24,
  drawn=(("fast", 16), ("full", 24)),
  num_envs=2,
  steps=1,
  batches=(2, 3),
  frames=5,
  clips=((1, 1), (2, 1)),
  length=8,
  tcc=TccSettings(num_cycles=2, videos_per_cycle=2, frames=4),
  agents=(1, 2),
  updates=2,
  replay=64,
  sac=SacSettings(hidden=(8,), batch_size=4),
  repeats=1,
  demo=(
    "--config.record.size=24", "--config.encoder.init=scratch", "--config.encoder.arch=resnet18",
    "--config.encoder.width=8", "--config.encoder.embedding_dim=8", "--config.encoder.size=16",
    "--config.encoder.resize=16", "--config.finetune.steps=2", "--config.finetune.batch_size=2",
    "--config.evaluate.unseen_episodes=1", "--config.policy.steps=24",
    "--config.policy.num_envs=2", "--config.policy.warmup_steps=4", "--config.policy.eval_every=24",
    "--config.policy.eval_episodes=1", "--config.policy.final_episodes=1",
  ),
)  # fmt: skip


def measure_drawing(sizes: Sizes) -> dict[str, Any]:
  """Steps of environments, drawn by workers and by one process."""
  rows = render.drawing_rows(sizes.repeats, sizes.drawn, sizes.num_envs, sizes.steps)
  return {
    f"{row['quality']}, {row['pixels']} px, drawn by {who}: steps/s": row[who]
    for row in rows
    for who in ("workers", "one process")
  }


def measure_embedding(sizes: Sizes) -> dict[str, Any]:
  """Frames embedded, from the device and from NumPy arrays."""
  value, found = _value(sizes), {}
  embed, variables = jax.jit(value.embed_fn), jax.device_put(value.variables)
  for batch in sizes.batches:
    frames = _frames(sizes, batch)
    placed = jax.device_put(frames)
    found[f"{batch} frames, compilation: s"] = _seconds(lambda: embed(variables, placed))  # noqa: B023
    for where, given in zip(PLACES, (placed, frames), strict=True):
      call = measure.timed(lambda given=given: np.asarray(embed(variables, given)))
      found[f"{batch} frames, {where}: ms"] = 1e3 * _median(sizes, call)
  frames = _frames(sizes, sizes.frames)
  value.embed(frames)
  rate = len(frames) / _median(sizes, measure.timed(value.embed, frames))
  found["ValueFunction.embed: frames/s"] = rate
  most = sizes.batches[-1]
  on_device = most / found[f"{most} frames, on the device: ms"] * 1e3
  return {**found, "ValueFunction.embed: % of the device's rate": 100 * rate / on_device}


def measure_training(sizes: Sizes) -> dict[str, Any]:
  """The published step, the same without TCC at more clips, and where its time goes."""
  peak = floor.measure_peak(compute_dtype(), 64 if sizes == SMALL else 0)
  found: dict[str, Any] = {"peak of a matrix product: T operations/s": peak.operations / 1e12}
  first, *others = sizes.clips
  made = [_compiled_step(sizes, *first, sizes.tcc)]  # alone, for the time of its compilation
  found["published step, compilation: s"] = made[0][-1]
  with ThreadPoolExecutor() as pool:
    without = dataclasses.replace(sizes.tcc, weight=0.0)
    made += pool.map(lambda each: _compiled_step(sizes, *each, without), others)
  for (clips, steps), (compiled, state, videos, frames, cost, _) in zip(
    sizes.clips, made, strict=True
  ):
    name = f"{clips} clips" if (clips, steps) != first else "published step"
    held = [state]  # donated by each call

    def run(compiled=compiled, videos=videos, held=held):
      held[0], metrics = compiled(held[0], videos)
      return metrics

    seconds = _median(sizes, measure.timed(run)) / steps
    found[f"{name}: ms"] = 1e3 * seconds
    found[f"{name}: frames/s"] = frames / seconds
    if cost.operations is not None:
      share = 100 * cost.operations / seconds / peak.operations
      found[f"{name}: % of the peak"] = share
    found[f"{name}: MiB of temporaries"] = compiled.memory_analysis().temp_size_in_bytes / 2**20
    parts = trace.profile(compiled, run)
    whole = sum(parts.values()) or 1.0
    shares = {part: 100 * part_seconds / whole for part, part_seconds in parts.items()}
    found[f"{name}: profile, % of its time"] = shares
  return found


def measure_agents(sizes: Sizes) -> dict[str, Any]:
  """SAC's updates, of one agent and of several at once."""
  found = {}
  for count in sizes.agents:
    row = sac.agents_row(sizes.repeats, sizes.sac, count, sizes.updates, sizes.replay)
    name = row.pop("agents")
    found |= {f"agents at once: {name}; {what}": each for what, each in row.items()}
  return found


def measure_policy(sizes: Sizes) -> dict[str, Any]:
  """The policy stage's loop: act, step, draw, embed, reward, store, update."""
  options = {"quality": sizes.drawn[-1][0]}
  with FrameVectorEnv(options, sizes.num_envs, [Channel(View())], sizes.pixels) as env:
    frames = env.reset(seed=0)[1].frames
    reward = pipeline.make_reward(frames, sizes.config, sizes.preprocessing)
    agent = init_agent(jax.random.key(1), sac.OBSERVATION, sac.ACTIONS, sizes.sac)
    state = init_loop(jax.random.key(0), agent, sizes.replay, env)
    loop = LoopSettings(updates_per_step=9, warmup_steps=sizes.num_envs)
    loop_steps = train_loop(env, reward, state, sizes.sac, loop, seed=0)
    began = time.perf_counter()
    for _ in range(3):
      next(loop_steps)
    started = time.perf_counter() - began
    work = measure.timed(lambda: next(loop_steps).state, times=sizes.steps)
    rate = sizes.num_envs * sizes.steps / _median(sizes, work)
    loop_steps.close()
  held = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
  memory = {} if held is None else {"policy loop: MiB on the device at most": held / 2**20}
  return {"policy loop: steps/s": rate, "policy loop, first steps: s": started, **memory}


def measure_demo(sizes: Sizes) -> dict[str, Any]:
  """The whole demo, with nothing compiled before."""
  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder) / "run"
    command = [
      sys.executable, "-m", "launch.pipeline", "--config=configs/demo.py", f"--workdir={workdir}",
      *sizes.demo,
    ]  # fmt: skip
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(folder) / "xla")}
    environment.pop("XLA_PYTHON_CLIENT_PREALLOCATE", None)  # this process's alone
    began = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    whole = time.perf_counter() - began
    results = files.read_json(workdir / "results.json")
  stages = {f"demo, {name}: s": seconds for name, seconds in results["seconds"].items()}
  return {"demo: s": whole, **stages, "demo, success: %": 100 * results["policy_success"]}


PARTS: dict[str, Callable[[Sizes], dict[str, Any]]] = {
  "drawing": measure_drawing,
  "training": measure_training,
  "embedding": measure_embedding,
  "agents": measure_agents,
  "policy": measure_policy,
  "demo": measure_demo,
}


def run_part(name: str, sizes: Sizes, folder: pathlib.Path) -> None:
  """Measures a part and writes `check_<name>.json` into the folder."""
  began = time.perf_counter()
  found = PARTS[name](sizes)
  content = {"seconds": time.perf_counter() - began, "found": found, "versions": current_versions()}
  files.write_json(folder / f"check_{name}.json", content)


def _value(sizes: Sizes):
  return init_value(jax.random.key(0), sizes.config, sizes.preprocessing)


def _frames(sizes: Sizes, count: int) -> np.ndarray:
  shape = (count, sizes.pixels, sizes.pixels, 3)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _compiled_step(sizes: Sizes, clips: int, steps: int, tcc: TccSettings):
  """Program, state, videos, frames in a step, cost of a step, and seconds of compilation."""
  value = _value(sizes)
  settings = Settings(batch_size=clips, then_resize=sizes.preprocessing.resize, tcc=tcc)
  frames = _frames(sizes, 4 * sizes.length).reshape(4, sizes.length, *[sizes.pixels] * 2, 3)
  videos = jax.device_put(VideoSet(frames, np.full(4, sizes.length, np.int32)))
  state = jax.device_put(init_state(jax.random.key(1), value, settings, 4))
  step = make_train_step(value, settings, 4)
  began = time.perf_counter()
  compiled = jax.jit(scan_steps(step, steps), donate_argnums=0).lower(state, videos).compile()
  seconds = time.perf_counter() - began
  cost = floor.count(jax.jit(step), state, videos)
  return compiled, state, videos, frames_per_step(settings, 4), cost, seconds


def _seconds(work: Callable[[], Any]) -> float:
  began = time.perf_counter()
  jax.block_until_ready(work())
  return time.perf_counter() - began


def _median(sizes: Sizes, work: Callable[[], float]) -> float:
  return measure.median_seconds(work, sizes.repeats, warmup=1)
