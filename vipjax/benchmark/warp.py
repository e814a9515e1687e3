"""MuJoCo Warp beside MuJoCo in C and OpenGL: the same episodes, the same pictures, the speed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import mujoco
import mujoco.rollout
import numpy as np
from scipy import stats

from vipjax import encoder
from vipjax.benchmark import measure
from vipjax.benchmark.bench import Bench
from vipjax.benchmark.results import SuiteResult
from vipjax.envs.warp import Physics, Scene, Simulation, WarpEnv, read_scene
from vipjax.envs.warp.reference import CHANNELS, Reference, read_reference
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError

ABOUT = (
  "MuJoCo Warp at an exported scene (docs/warp.md). The expert's actions were recorded in RobotEnv "
  "with the pinned MuJoCo and are played again, without looking, in Warp (single precision) and in "
  "C by the MuJoCo that Warp needs. A control step is five physics steps."
)


def run(
  bench: Bench,
  scene: str | os.PathLike = "scenes/window-open",
  worlds: Sequence[int] = (),
  steps: int = 10,
  size: int = 112,
  episodes: int = 50,
  encoder_name: str = "mini",
) -> SuiteResult:
  """Plays, draws and measures.

  Args:
    bench: measures the machine.
    scene: a folder that `launch.export_scene --episodes` wrote.
    worlds: numbers of worlds in the tables of rates; none are 9, 64, 512 and 4,096 on a GPU and 9
      on a CPU.
    steps: control steps and pictures of all worlds in a run.
    size: height and width of the pictures whose rate is measured, pixels.
    episodes: how many of the expert's episodes to play, at most those recorded.
    encoder_name: anything that `vipjax.load` takes; its embeddings are compared.
  """
  exported = read_scene(scene)
  recorded = read_reference(exported)
  drawn = recorded.frames.shape[-2]
  first = jax.tree.map(lambda x: x[:episodes], recorded._replace(frames=None, frame_steps=None))
  on_gpu = jax.devices()[0].platform == "gpu"
  worlds = tuple(worlds) or ((9, 64, 512, 4096) if on_gpu else (9,))
  tables = {"Episodes of the expert played again": _replays(exported, first)}
  looked = Simulation(exported, len(recorded.frame_steps), CHANNELS, drawn)
  own = _pictures_of_first(exported, recorded, looked)
  tables[f"Pictures of an expert's episode, Warp beside OpenGL, {drawn} px"] = _renderers(
    recorded, own, encoder_name
  )
  for count in worlds:
    rows = _rates(bench, exported, count, steps, size)
    tables.setdefault("Speed", []).extend(rows)
  facts = {"scene": exported.facts.task, "robot": exported.facts.robot}
  return SuiteResult("warp", ABOUT, [], bench.skipped, bench.peak, tables, facts)


def _replays(scene: Scene, recorded: Reference) -> list[dict[str, float | str]]:
  rows = []
  for name, play in (("Warp", play_in_warp), ("C", play_in_c)):
    observations, hands, success = play(scene, recorded)
    steps = np.arange(success.shape[1])
    during = steps <= recorded.lengths[:, None]
    before = during & (np.cumsum(recorded.touching, axis=1) == 0)
    apart = np.linalg.norm(hands - recorded.hands, axis=-1) * 1000
    wrong = np.abs(observations - recorded.observations)
    rows.append({
      "simulator": f"{name}, MuJoCo {mujoco.__version__}",
      "successes": f"{(success & during).any(axis=1).sum()} of {len(success)}",
      "expert's own": str(int(recorded.success.any(axis=1).sum())),
      "hand off by before contact, mm": float(apart[before].max()),
      "after it, mm: median of episodes' largest": float(
        np.median(np.where(during, apart, 0).max(axis=1))
      ),
      "largest": float(np.where(during, apart, 0).max()),
      "observation before contact, largest": float(wrong[before].max()),
    })  # fmt: skip
  return rows


def play_in_warp(scene: Scene, recorded: Reference) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Plays the actions in Warp.

  Returns:
    Observations [E, T + 1, 51], hands [E, T + 1, 3] and success [E, T + 1], as in `Reference`.
  """
  episodes, steps = recorded.actions.shape[:2]
  simulation = Simulation(scene, episodes)
  env = WarpEnv(scene, simulation, horizon=steps + 1)
  hand = simulation.model.body("hand").id
  state, observation, _ = env.start(
    *(jnp.asarray(each) for each in recorded[:4]), jax.random.key(0)
  )

  def hand_of(state):
    return simulation.poses(state.physics.qpos, state.moved).xpos[:, hand]

  def one(state, action):
    state, step = env.step(state, action, draw=False)
    return state, (step.observation, hand_of(state), step.success)

  played = jax.jit(lambda state, actions: jax.lax.scan(one, state, actions))
  first = observation, hand_of(state), np.zeros(episodes, bool)
  _, rest = played(state, jnp.asarray(recorded.actions.swapaxes(0, 1)))
  return tuple(
    np.concatenate([np.asarray(a)[:, None], np.asarray(b).swapaxes(0, 1)], axis=1)
    for a, b in zip(first, rest, strict=True)
  )


def play_in_c(scene: Scene, recorded: Reference) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Plays the actions in C with the MuJoCo that is here; see `play_in_warp`."""
  model, _ = scene.compile()
  env = WarpEnv(scene, _Model(model, len(recorded.lengths)))
  qpos, xpos, xquat = [], [], []
  for start, moved, actions in zip(recorded.qpos, recorded.moved, recorded.actions, strict=True):
    data = mujoco.MjData(model)
    data.qpos[:], data.mocap_pos[:] = start, moved
    for step in range(len(actions) + 1):
      if step:
        data.ctrl[:] = actions[step - 1]
        mujoco.mj_step(model, data, scene.facts.frame_skip)
      mujoco.mj_kinematics(model, data)
      for found, each in zip((qpos, xpos, xquat), (data.qpos, data.xpos, data.xquat), strict=True):
        found.append(each.astype(np.float32))
  shape = recorded.success.shape
  qpos, xpos, xquat = (
    np.stack(each).reshape(*shape, *each[0].shape) for each in (qpos, xpos, xquat)
  )
  observations, success, previous = [], [], None
  for step in range(shape[1]):
    poses = jnp.asarray(xpos[:, step]), jnp.asarray(xquat[:, step])
    present, measured = env.numbers(jnp.asarray(qpos[:, step]), poses, jnp.asarray(recorded.goal))
    before = present if previous is None else previous
    observations.append(np.concatenate([present, before, recorded.goal], axis=-1))
    success.append(np.asarray(measured.success) & (step > 0))
    previous = present
  hand = xpos[:, :, model.body("hand").id]
  return np.stack(observations, 1), hand, np.stack(success, 1)


class _Model:
  """A simulator that only knows its model: an environment of it measures states it is given."""

  def __init__(self, model: mujoco.MjModel, num_worlds: int):
    self.model, self.num_worlds = model, num_worlds


def _pictures_of_first(scene: Scene, recorded: Reference, simulation: Simulation) -> np.ndarray:
  """Warp's pictures of the states in which the expert's first episode was drawn, as `frames`."""
  # Its states are those of the actions played in C, which differ by less than a pixel.
  first = jax.tree.map(lambda x: x[:1], recorded._replace(frames=None, frame_steps=None))
  model, _ = scene.compile()
  data = mujoco.MjData(model)
  data.qpos[:], data.mocap_pos[:] = first.qpos[0], first.moved[0]
  states = [data.qpos.copy()]
  for action in first.actions[0]:
    data.ctrl[:] = action
    mujoco.mj_step(model, data, scene.facts.frame_skip)
    states.append(data.qpos.copy())
  qpos = np.stack(states).astype(np.float32)[recorded.frame_steps]
  moved = np.repeat(first.moved, len(qpos), axis=0)
  _, frames = jax.jit(simulation.look)(jnp.asarray(qpos), jnp.asarray(moved))
  return np.asarray(frames)


def _renderers(recorded: Reference, own: np.ndarray, encoder_name: str) -> list[dict]:
  value, rows = encoder.load(encoder_name), []
  for i, channel in enumerate(CHANNELS):
    theirs, ours = value.embed(recorded.frames[:, i]), value.embed(np.ascontiguousarray(own[:, i]))
    goal, own_goal = theirs[-1], ours[-1]
    curves = [
      np.linalg.norm(frames - end, axis=-1)
      for frames, end in ((theirs, goal), (ours, own_goal), (ours, goal))
    ]
    grey = own[:, i].astype(float) - recorded.frames[:, i]
    rows.append({
      "picture": f"azimuth {channel.view.azimuth:.0f}"
      + ("" if channel.robot_visible else ", robot free"),
      "grey levels: mean difference": float(grey.mean()),
      "mean absolute": float(np.abs(grey).mean()),
      "embedding: Warp to OpenGL of one state": float(
        np.linalg.norm(ours - theirs, axis=-1).mean()
      ),
      "first to last, OpenGL": float(curves[0][0]),
      "Warp": float(curves[1][0]),
      "Warp to OpenGL's goal": float(curves[2][0]),
      "rank correlation of distances, Warp and OpenGL": float(
        stats.spearmanr(curves[1], curves[0]).statistic
      ),
    })  # fmt: skip
  return rows


def _rates(bench: Bench, scene: Scene, worlds: int, steps: int, size: int) -> list[dict]:
  rng = np.random.default_rng(0)
  simulation = Simulation(scene, worlds, CHANNELS[:2], size)
  rows = rng.integers(len(scene.qpos), size=worlds)
  model, cameras = scene.compile(CHANNELS[:2])
  physics = Physics(
    jnp.asarray(scene.qpos[rows]), jnp.asarray(scene.qvel[rows]), jnp.zeros((worlds, model.nv))
  )
  moved = jnp.asarray(scene.moved[rows])
  actions = rng.uniform(-1, 1, (steps, worlds, model.nu)).astype(np.float32)

  @jax.jit
  def stepped(physics, actions):
    def one(physics, action):
      return simulation.step(physics, moved, action)[0], None

    return jax.lax.scan(one, physics, actions)[0]

  look = jax.jit(simulation.look)
  works = {
    "Warp's physics": measure.timed(stepped, physics, jnp.asarray(actions)),
    "Warp's pictures": measure.timed(lambda: look(physics.qpos, moved)[1]),
    "rollout": measure.timed(_rollout(scene, model, rows, actions)),
  }
  with contextlib.ExitStack() as stack:
    drawing = _opengl(stack, bench, model, cameras, scene, rows, size)
    if drawing is not None:
      works["OpenGL"] = measure.timed(drawing)
    seconds = measure.interleave(works, bench.repeats, warmup=1)
  amounts = {"Warp's physics": steps * worlds, "rollout": steps * worlds}
  rate = {
    name: float(np.median(amounts.get(name, 2 * worlds) / np.array(each)))
    for name, each in seconds.items()
  }
  threads = usable_cores()
  return [{
    "worlds": str(worlds),
    "Warp: control steps/s": rate["Warp's physics"],
    f"mujoco.rollout, {threads} threads": rate["rollout"],
    f"Warp: pictures/s, {size} px": rate["Warp's pictures"],
    "OpenGL, one context": rate.get("OpenGL", "no GL library"),
  }]  # fmt: skip


def _rollout(scene: Scene, model: mujoco.MjModel, rows: np.ndarray, actions: np.ndarray):
  threads = usable_cores()
  datas = [mujoco.MjData(model) for _ in range(threads)]
  data = datas[0]
  kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
  states = np.zeros((len(rows), mujoco.mj_stateSize(model, kind)))
  for state, row in zip(states, rows, strict=True):
    data.qpos[:], data.qvel[:] = scene.qpos[row], scene.qvel[row]
    mujoco.mj_getState(model, data, state, kind)
  for each in datas:
    each.mocap_pos[:] = scene.moved[0]
  skip = scene.facts.frame_skip
  control = np.repeat(actions.swapaxes(0, 1), skip, axis=1).astype(float)
  pool = mujoco.rollout.Rollout(nthread=threads)
  return lambda: pool.rollout([model] * len(rows), datas, states, control)[0]


def _opengl(stack, bench: Bench, model, cameras, scene: Scene, rows, size: int):
  """Draws two pictures of each world, with and without the robot, by OpenGL; None without it."""
  from vipjax.envs.warp.scene import ROBOT
  from vipjax.runtime import gl

  try:
    gl.require()
  except UserError as error:
    bench.skipped["OpenGL"] = str(error)
    return None
  renderer = stack.enter_context(mujoco.Renderer(model, size, size))
  data, option = mujoco.MjData(model), mujoco.MjvOption()
  option.sitegroup[:] = 0
  for flag in (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_HAZE,
  ):
    renderer.scene.flags[flag] = 0

  def draw():
    pictures = []
    for row in rows:
      data.qpos[:], data.mocap_pos[:] = scene.qpos[row], scene.moved[row]
      mujoco.mj_kinematics(model, data)
      mujoco.mj_camlight(model, data)
      for visible, camera in zip((1, 0), cameras, strict=True):
        option.geomgroup[ROBOT] = visible
        renderer.update_scene(data, camera, option)
        pictures.append(renderer.render())
    return pictures

  return draw
