"""Tensors by name: read from a safetensors file, and held to the names and shapes of a network."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping

import numpy as np
import safetensors
import safetensors.numpy

from vipjax.runtime.errors import UserError

_LISTED = 6  # problems that an error names


def read_safetensors(path: pathlib.Path, advice: str) -> dict[str, np.ndarray]:
  """The tensors of a file, by name.

  Raises:
    UserError: the file is damaged; the message ends with the advice.
  """
  try:
    return safetensors.numpy.load_file(path)
  except (safetensors.SafetensorError, ValueError, TypeError, OverflowError) as error:
    raise UserError(
      f"expected a safetensors file, got a damaged one at {path} ({ascii(str(error))[:120]}); "
      f"{advice}."
    ) from None


def check_tensors(
  tensors: Mapping[str, np.ndarray],
  shapes: Mapping[str, tuple[int, ...]],
  expected: str,
  advice: str,
  dtype: type | None = None,
  ignored: Collection[str] = (),
) -> None:
  """Raises UserError unless the tensors are those of the network, floating point and finite.

  Args:
    tensors: by name.
    shapes: of the network, by name.
    expected: what the message calls them, such as "the tensors of a VIP resnet50".
    advice: ends the message.
    dtype: that of all of them; None: any floating point.
    ignored: names that may also be there.
  """
  problems = [f"no {key}" for key in shapes if key not in tensors]
  others = [key for key in tensors if key not in shapes and key not in ignored]
  problems += [f"the unknown {ascii(key)[1:-1][:60]}" for key in others]
  for key, shape in shapes.items():
    if key not in tensors:
      continue
    array = np.asarray(tensors[key])
    if array.shape != shape:
      problems.append(f"{key} of shape {array.shape} instead of {shape}")
    elif array.dtype.kind != "f" or dtype not in (None, array.dtype):
      wanted = "floating point" if dtype is None else np.dtype(dtype)
      problems.append(f"{key} of {array.dtype} instead of {wanted}")
    elif not np.isfinite(array).all():
      problems.append(f"{key} with values that are not finite")
    elif key.endswith("var") and (array < 0).any():
      problems.append(f"{key} with negative variances")
  if problems:
    more = f" and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    raise UserError(f"expected {expected}, got {', '.join(problems[:_LISTED])}{more}; {advice}.")
