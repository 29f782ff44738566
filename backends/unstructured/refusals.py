"""What an unstructured model's requests are refused with."""

from __future__ import annotations


class HookFailed(Exception):
    """A hook raised, crashed, or answered what is no answer."""


class HookTooSlow(Exception):
    """A hook took longer than it may."""


class TooLarge(Exception):
    """A request or its answer is over a limit."""


class AnswerTooLarge(TooLarge):
    """The answer has more bytes than it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The answer is larger than {most} bytes: send less at once")


class ContentNotTaken(Exception):
    """The model does not take a body of this type."""
