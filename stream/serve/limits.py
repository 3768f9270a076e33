"""What a stranger may ask of the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds in one place; the service's memory and time follow from them.

    Raises ValueError for a bound that is not above 0.
    """

    upload_bytes: int = 64 * 2**20
    """Body of an uploaded image or clip."""
    upload_s: float = 60.0
    """Time that an upload's bytes may take to arrive."""
    uploads: int = 4
    """Uploads received or scored at once; others are told to come again."""
    image_pixels: int = 40_000_000
    """Pixels of an uploaded image."""
    clip_pixels: int = 3840 * 2160
    """Pixels of a clip's frame."""
    clip_duration_s: float = 120.0
    """Length of a clip; longer ones are refused, not cut."""
    clip_frames: int = 8_000
    """Frames of a clip."""
    score_s: float = 240.0
    """Time from the end of an upload to its answer."""
    message_bytes: int = 2 * 2**20
    """One message over the WebSocket: one picture."""
    live_pixels: int = 1920 * 1080
    """Pixels of a live picture."""
    live_rate_hz: float = 60.0
    """Pictures a second looked at; more are dropped and counted."""
    live_per_address: int = 8
    """Live visitors of one network address."""
    idle_s: float = 60.0
    """A live visitor who sends nothing for so long is sent away."""
    send_s: float = 10.0
    """A live visitor who takes no answer for so long is sent away."""

    connections: int = 512
    """Connections at once, of all; one network address may hold as many as are still free."""
    head_s: float = 10.0
    """How long a connection may be without a request in hand, the first one's head included."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} has to be above 0, not {getattr(self, name)}")
