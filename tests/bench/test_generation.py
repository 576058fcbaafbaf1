from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from flextok.bench.generation import write_contact_sheet
from flextok.toybox.actions import ACTIONS


def test_the_contact_sheet_moves_and_shows_every_class_in_a_place_of_its_own(tmp_path: Path) -> None:
    shades = torch.linspace(-1, 1, len(ACTIONS))
    fading = torch.linspace(1, -1, 5).reshape(1, 1, 1, 5, 1, 1)  # the last frame is the first one's negative
    clips = (shades.reshape(-1, 1, 1, 1, 1, 1) * fading).repeat(1, 2, 3, 1, 16, 16)
    write_contact_sheet(clips, tmp_path / "sheet.webp")
    with Image.open(tmp_path / "sheet.webp") as sheet:
        assert sheet.n_frames == 5
        frames = []
        for index in (0, 4):
            sheet.seek(index)
            frames.append(np.asarray(sheet.convert("L"), dtype=float))
    height, width = frames[0].shape[0] // 3, frames[0].shape[1] // 4
    for number, shade in enumerate(shades.tolist()):
        row, column = divmod(number, 4)
        inside = np.s_[(row + 1) * height - 16 : (row + 1) * height - 4, column * width + 8 : (column + 1) * width - 12]
        for frame, sign in zip(frames, (1, -1), strict=True):
            assert abs(frame[inside].mean() - (sign * shade + 1) * 127.5) < 6
