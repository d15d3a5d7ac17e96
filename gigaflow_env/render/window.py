"""A window that shows frames as they are made: `render_mode="human"`."""

from typing import Any

import numpy as np

from gigaflow_env.render.topview import load_pygame


class Window:
    """Opens with the first frame, and shows so many frames a second. Whoever closes it goes on without it.

    Raises MissingExtra where pygame-ce is not installed. A copy of it, and one that was pickled, opens anew.
    """

    def __init__(self, title: str, fps: float) -> None:
        self._title, self._fps = title, fps
        self._pygame = load_pygame()
        self._surface: Any = None
        self._clock: Any = None
        self.closed = False

    def show(self, frame: np.ndarray) -> None:
        """Show a frame, uint8 (H, W, 3), and wait until it's due. Raises RuntimeError where there is no display."""
        pygame = self._pygame
        if self.closed:
            return
        if self._surface is None:
            try:
                pygame.display.init()
                self._surface = pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            except pygame.error as error:
                raise RuntimeError(f'no window can be opened ({error}): choose render_mode="rgb_array"') from None
            pygame.display.set_caption(self._title)
            self._clock = pygame.time.Clock()
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
            return
        pygame.surfarray.blit_array(self._surface, frame.swapaxes(0, 1))
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window; it stays closed."""
        if self._surface is not None:
            self._pygame.display.quit()
        self._surface, self.closed = None, True

    def __getstate__(self) -> dict[str, Any]:
        return {"title": self._title, "fps": self._fps}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Window.__init__(self, **state)
