"""Errors that are the user's to fix."""


class UserError(Exception):
    """One sentence for the user: the key or file, the value, the reason, the fix.

    Commands print it without a traceback and exit with code 2 (see `cli.common.run_command`).
    """
