"""What a trace says of a program's parts: paths by hand, and a real trace of a small program."""

import jax
import jax.numpy as jnp
import pytest

from vipjax.benchmark import trace

_TEXT = """
HloModule jit_steps
  %convolution.3 = f32[2,4]{1,0:T(8,128)} convolution(%a, %b), dim_labels=bf01_oi01->bf01, \
metadata={op_name="jit(steps)/jvp(ResNet)/layer1_0/conv1/conv_general_dilated" source_line=3}
  while.5 = (s32[], f32[2]{0}) while((s32[], f32[2]{0}) %t), condition=%c, body=%d
  ROOT fusion.7 = f32[2]{0} fusion(%x), kind=kLoop, calls=%y
"""


def test_instructions_of_a_program():
  path = "jit(steps)/jvp(ResNet)/layer1_0/conv1/conv_general_dilated"
  assert trace.instructions(_TEXT) == {"convolution.3": path, "fusion.7": ""}


@pytest.mark.parametrize(
  ("path", "part"),
  [
    ("jit(steps)/jvp(ResNet)/ResNet._stages/layer1_0/conv1/dot_general", "convolutions"),
    (
      "jit(s)/transpose(jvp(ResNet))/layer1_0/conv1/cond/branch_1_fun/pad",
      "convolutions, gradient",
    ),
    ("jit(s)/jvp(ResNet)/layer1_0/project_norm/mul", "BatchNorm"),
    ("jit(s)/jvp(ResNet)/layer1_0/jit(relu)/max", "the network's other layers"),
    ("jit(s)/jvp(vmap())/vmap(jit(_threefry_split))/while", "random numbers"),
    ("jit(s)/jvp(vmap())/dot_general", "crops"),
    ("jit(s)/transpose(jvp())/mul", "losses, gradient"),
    ("jit(s)/sqrt", "drawing clips, optimiser, guards"),
    ("", "copies and what has no name"),
  ],
)
def test_parts_of_a_training_step(path, part):
  assert trace.part_of(path) == part


def test_a_trace_of_a_program_names_its_parts():
  @jax.jit
  def step(x):
    loss, gradient = jax.value_and_grad(lambda x: jnp.sum(jnp.sin(x @ x) ** 2))(x)
    return x - jnp.sqrt(jnp.abs(gradient)), loss

  x = jnp.linspace(0.0, 1.0, 300 * 300).reshape(300, 300)
  compiled = step.lower(x).compile()
  jax.block_until_ready(compiled(x))
  found = trace.profile(compiled, lambda: compiled(x))
  assert {"losses", "losses, gradient"} <= set(found)
  assert all(seconds > 0 for seconds in found.values())
  assert list(found.values()) == sorted(found.values(), reverse=True)
