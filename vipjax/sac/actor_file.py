"""A policy as files: `actor.safetensors` and `actor.json`."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.runtime import files
from vipjax.sac.agent import SacSettings, compile_policy, init_agent


def save_actor(folder: pathlib.Path, actor: Any, sac: SacSettings, num_actions: int) -> None:
  """Writes the actor's parameters and what it takes to run them; `load_actor` reads them."""
  from safetensors.numpy import save

  leaves = jax.tree_util.tree_leaves_with_path(actor)
  flat = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
  files.write_bytes(folder / "actor.safetensors", save(flat))
  record = {
    "num_actions": num_actions,
    "hidden": list(sac.hidden),
    "normalize_observations": sac.normalize_observations,
  }
  files.write_json(folder / "actor.json", record)


def load_actor(path: str | os.PathLike, agent: str = "") -> Callable[[np.ndarray], np.ndarray]:
  """The run's policy: a function from observations float32 [..., O] to actions [..., A].

  Args:
    path: the run folder.
    agent: of a run with several seeds at once one of them, such as "seed1"; without it the policy
      is that of the highest evaluation return.

  Raises:
    UserError: the run has no trained policy yet.
  """
  from safetensors.numpy import load_file

  folder = pathlib.Path(path) / "policy" / agent
  record = files.read_json(folder / "actor.json")
  normalize = record.get("normalize_observations", False)  # absent from files of before
  sac = SacSettings(hidden=tuple(record["hidden"]), normalize_observations=normalize)
  flat = load_file(folder / "actor.safetensors")
  size = flat["['params']['Mlp_0']['Dense_0']['kernel']"].shape[0]
  template = init_agent(jax.random.key(0), size, record["num_actions"], sac).actor
  actor = jax.tree_util.tree_map_with_path(
    lambda path, leaf: jnp.asarray(flat[jax.tree_util.keystr(path)]), template
  )
  policy = compile_policy(record["num_actions"], sac, deterministic=True)
  return lambda observation: np.asarray(policy(actor, observation, jax.random.key(0)))
