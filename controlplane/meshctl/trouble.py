"""What ends a command early: one line for the user, a remedy, and the exit code."""

from enum import IntEnum

from controlplane.api.problem import Problem


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    PROBLEMS = 1
    """Problems were found, or the command failed."""
    USAGE = 2
    ROLLED_BACK = 3
    TIMED_OUT = 4
    WOULD_CHANGE = 5


class Trouble(Exception):
    """Printed as ``meshctl: message`` with the remedy below; never with a traceback."""

    def __init__(
        self,
        message: str,
        remedy: str = "",
        code: Exit = Exit.PROBLEMS,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.code = code
        self.problems = problems

    def text(self) -> str:
        """The lines that go to standard error."""
        lines = [f"meshctl: {self}"]
        if self.remedy:
            stop = "" if self.remedy[-1] in ".?!" else "."
            lines.append(f"         {self.remedy}{stop}")
        lines.extend(f"  {problem}" for problem in self.problems)
        return "\n".join(lines)


def misused(message: str, remedy: str) -> Trouble:
    """Wrong usage: exit code 2."""
    return Trouble(message, remedy, Exit.USAGE)
