"""How the program ends when it cannot go on: one line, and the exit code that ourofs has for it."""

USAGE, SYSTEM, MOUNT = 1, 2, 32


class Failure(Exception):
    """Ends the program with `code`; the text is for the user and has no prefix."""

    def __init__(self, text, code=SYSTEM):
        super().__init__(text)
        self.code = code


def of_os_error(what, error):
    """The Failure of an OSError, as in: cannot open 'X': No such file or directory."""
    return Failure(f"{what}: {error.strerror}")


def missing_program(program, package):
    return Failure(f"there is no {program}: apt install {package}")
