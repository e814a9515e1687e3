"""The error that a user can mend."""


class UserError(ValueError):
  """Bad input. The message is one sentence: what was expected, what came, what to do.

  Launchers print it without a traceback and exit with status 1.
  """
