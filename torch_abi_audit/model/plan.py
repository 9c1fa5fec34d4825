"""The fix for a target: the proven metadata change that makes it pass, and changes to its build."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch_abi_audit.model.reports import Verdict


class MetadataChange(NamedTuple):
    """A change to the metadata of a wheel; fields that are None stay as they are.

    Attributes:
        torch: The requirement on torch that replaces all others, such as ``torch==2.12.*``.
        python: ``Requires-Python``, such as ``>=3.10``.
        tags: The tags of the filename, such as ``cp39-abi3-manylinux_2_28_x86_64``.
    """

    torch: str | None = None
    python: str | None = None
    tags: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The changes to make: the lines to paste into `pyproject.toml`, and the tags."""
        lines = []
        if self.torch is not None:
            lines.append(f'dependencies = ["{self.torch}"]')
        if self.python is not None:
            lines.append(f'requires-python = "{self.python}"')
        if self.tags is not None:
            lines.append(f"wheel tag {self.tags}")
        return tuple(lines)


class Plan(NamedTuple):
    """What to change about a target that does not pass.

    Attributes:
        change: The smallest metadata change that makes the existing target pass, proven by
            another audit. None if no metadata change does, or several do.
        choices: If several do, all of them: only the author can tell which is right.
        verdict: The verdict with the change.
        why_not: Why no metadata change was found that makes it pass, in one sentence.
        build: What to change about the build to support more, one sentence each.
    """

    change: MetadataChange | None = None
    choices: tuple[MetadataChange, ...] = ()
    verdict: Verdict | None = None
    why_not: str | None = None
    build: tuple[str, ...] = ()
