"""Episodes with the times at which a player shows them: for subtitles and annotations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..result import Result
from .base import SinkInfo
from .episodes import Episode, Episodes

_USUAL_RATE_HZ = 25.0
_SHORTEST_S = 0.2
"""A face seen for an instant is shown at least so long."""


class ShownEpisodes:
    """One source's episodes from the start of its video.

    The times of a live source count from its first frame, as those of a recording made beside. A
    face's last episode includes the time for which its last frame is shown.
    """

    def __init__(self, info: SinkInfo, episodes: Episodes) -> None:
        self._episodes = episodes
        self._step_s = 1 / (info.rate_hz or _USUAL_RATE_HZ)
        self._zero_s: float | None = None if info.live else 0.0
        self.sure_s = 0.0
        """No episode that starts before this can still come."""

    def add(self, result: Result) -> list[Episode]:
        """The episodes that ended with this frame."""
        if self._zero_s is None:
            self._zero_s = result.time_s
        ended = self._shown(self._episodes.add(result))
        self.sure_s = min(self._episodes.starts_s, default=result.time_s) - self._zero_s
        return ended

    def finish(self) -> list[Episode]:
        """The episodes that went on until the end."""
        return self._shown(self._episodes.finish())

    def _shown(self, ended: Iterable[Episode]) -> list[Episode]:
        zero_s = self._zero_s or 0.0
        shown = []
        for episode in ended:
            start_s, end_s = episode.start_s - zero_s, episode.end_s - zero_s
            if episode.gone:
                end_s = max(end_s + self._step_s, start_s + _SHORTEST_S)
            shown.append(replace(episode, start_s=start_s, end_s=end_s))
        return shown
