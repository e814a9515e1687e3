"""Rows, results and folders of several agents that learn at once.

Each has a name, "seed<n>"; a single agent has none, and writes as an agent alone always did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]


def agent_names(seeds: Sequence[int]) -> list[str]:
  """The agents' names in metrics and folders; that of a single agent is ""."""
  return [f"seed{seed}" for seed in seeds] if len(seeds) > 1 else [""]


def named(name: str, key: str) -> str:
  """A metric of an agent by its name."""
  return f"{name}/{key}" if name else key


def joined_metrics(names: Sequence[str], rows: Sequence[Row]) -> Row:
  """The means of the agents' rows, and "seed<n>/<key>" of each; a single agent's row as it is."""
  if len(rows) == 1:
    return rows[0]
  of_agents = zip(names, rows, strict=True)
  each = {named(name, key): value for name, row in of_agents for key, value in row.items()}
  return {**_means(rows), **each}


def joined_results(seeds: Sequence[int], rows: Sequence[Row]) -> Row:
  """The means of the agents' results, and in "agents" each with its "seed"; or a single one's."""
  if len(rows) == 1:
    return rows[0]
  agents = [{"seed": seed, **row} for seed, row in zip(seeds, rows, strict=True)]
  return {**_means(rows), "agents": agents}


def alone_or_all(of_agents: list[Any]) -> Any:
  """What a checkpoint holds for a list with something of each agent: of a single one just that."""
  return of_agents if len(of_agents) > 1 else of_agents[0]


def _means(rows: Sequence[Row]) -> Row:
  """The means of numbers by key, of the rows that have one that is not NaN; equal ones stay."""
  means = {}
  for key in dict.fromkeys(key for row in rows for key in row):
    values = [row[key] for row in rows if key in row]
    known = [value for value in values if not np.isnan(value)] or values
    means[key] = known[0] if all(x == known[0] for x in known) else float(np.mean(known))
  return means
