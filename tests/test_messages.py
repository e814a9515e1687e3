"""The form of all messages to users: expected ..., got ...; do ..."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted(
  path.relative_to(ROOT).as_posix()
  for folder in ("vipjax", "launch", "configs")
  for path in (ROOT / folder).rglob("*.py")
)


def messages_of(source: str) -> list[str]:
  """The messages of UserErrors that are written out there; their values are {}."""
  messages = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("UserError") and node.args:
      message = node.args[0]
      parts = message.values if isinstance(message, ast.JoinedStr) else [message]
      if isinstance(message, ast.JoinedStr | ast.Constant):
        words = (part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
        messages.append("".join(words))
  return messages


def test_messages_are_found_in_all_their_forms():
  source = 'a = UserError(f"expected {x}" f", got {y}; z.")\nb = errors.UserError("plain")\n'
  assert messages_of(source) == ["expected {}, got {}; z.", "plain"]


@pytest.mark.parametrize("module", MODULES)
def test_messages_say_what_was_expected_what_came_and_what_to_do(module):
  for message in messages_of((ROOT / module).read_text()):
    assert re.fullmatch(r"expected [^\n]+, got [^\n]+; [^\n]+", message), message
