"""What this app takes and makes at most; every rule that a visitor can meet says its number."""

from __future__ import annotations

MAX_STEPS = 50
MAX_GUIDANCE = 30.0
MAX_SEED = 2**31 - 1
MAX_FPS = 60.0
MAX_CLIP_CHUNKS = 3
"""Chunks of 17 frames that share one: 49 frames."""
MAX_GENERATED_CHUNKS = 5
"""81 frames."""
MAX_LENGTH_S = 25.0
CHUNK_FRAMES, CHUNK_LATENT, MODEL_FPS = 17, 5, 8.0
"""Of every model here; what a clip is read at is said before a model is loaded."""
MAX_UPLOAD_MB = 50
MAX_PIXELS = 4096 * 2304
MAX_UPLOAD_S = 600.0
MAX_DECODE_S = 20.0
MAX_DECODED_PIXELS = 4_000_000_000
"""Of one request, whatever it has to look through: 480 frames of 4K, or 420 of the largest GIF."""
CONVERTED_S, CONVERTED_FPS, CONVERTED_PIXELS = 20.0, 16.0, 320
"""What is kept of a file that browsers cannot play: seconds, frames a second, pixels of the shorter side."""
MAX_LATENT_FRAMES = 21
"""81 frames: five chunks."""
