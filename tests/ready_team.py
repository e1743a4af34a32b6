"""A team whose processes have all started before the first portion comes, so that they are sure to get some."""

from typing import Self

from tunesmith.tokens.team import Team


class ReadyTeam(Team):
    """A `Team` that waits for its processes."""

    def __enter__(self) -> Self:
        super().__enter__()
        while any(not member.free for member in self._members):
            self._listen(None)
        return self
