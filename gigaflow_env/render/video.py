"""Videos: frames to mp4 (H.264, plays everywhere) or gif."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gigaflow_env.files import replacing
from gigaflow_env.render.extra import library

# A palette per frame, so that frames stream: one palette for all of them would keep the whole video in memory.
PALETTE = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none"


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> int:
    """Write frames (H, W, 3) uint8 to `path`, .mp4 or .gif, and return their number. `frames` may be a generator.

    The file appears when it is complete. Raises ValueError for another suffix, no frames, frames that are not all of one
    shape, and for an odd height or width of an mp4 (its colours are stored for 2 x 2 pixels).
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".mp4", ".gif"):
        raise ValueError(f"{path}: videos are written as .mp4 or .gif")
    if not fps > 0:
        raise ValueError(f"fps={fps}: must be above 0")
    ffmpeg = library("imageio_ffmpeg")
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: a video needs at least one frame")
    _check(first, first.shape, 0)
    height, width = first.shape[:2]
    if suffix == ".mp4" and (height % 2 or width % 2):
        raise ValueError(f"{path}: frames of {height} x {width} pixels; an mp4 needs an even height and width")
    if suffix == ".mp4":
        options = {"codec": "libx264", "pix_fmt_out": "yuv420p", "output_params": ["-crf", "20", "-movflags", "+faststart"]}
    else:
        options = {"codec": "gif", "pix_fmt_out": "pal8", "output_params": ["-filter_complex", PALETTE]}
    with replacing(path) as temporary:
        writer = ffmpeg.write_frames(
            str(temporary),
            (width, height),
            fps=fps,
            quality=None,  # crf says it
            macro_block_size=1,  # any even size, as it is
            ffmpeg_log_level="error",
            **options,
        )
        try:
            writer.send(None)
            count = 0
            for frame in itertools.chain([first], frames):
                _check(frame, first.shape, count)
                writer.send(np.ascontiguousarray(frame))
                count += 1
        finally:
            writer.close()
    return count


def _check(frame: np.ndarray, shape: tuple[int, ...], number: int) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"frame {number} is {frame.dtype} {frame.shape}: a frame is uint8 (H, W, 3)")
    if frame.shape != shape:
        raise ValueError(f"frame {number} is {frame.shape}, the first one {shape}: all frames have one size")
