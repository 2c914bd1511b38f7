"""The one exception that users see."""


class AnymarkError(ValueError):
    """What is wrong with a user's input, in one line that names it. The command line prints it and exits with 2."""

    def __str__(self) -> str:
        return " ".join(line.strip() for line in super().__str__().splitlines())
