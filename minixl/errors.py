"""The one exception for what a user can put right: its text is shown as it is, without a traceback."""


class UserError(ValueError):
    """What is wrong, in one line: the file, line or parameter, what was expected, what was found, and the cure.

    The command line prints it after "Error: " and exits with 1.
    """
