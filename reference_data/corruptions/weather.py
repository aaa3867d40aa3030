"""Weather between the camera and its subject. Severities are counted from 0 here."""

import numpy as np

from reference_data.corruptions.canvas import (
    Canvas,
    Generator,
    clouds,
    shorter_side,
    smooth,
    spread,
)

_FOG = (0.2, 0.35, 0.5, 0.65, 0.8)
_RAIN = (0.004, 0.008, 0.014, 0.022, 0.035)
"""Share of pixels at which a streak begins."""
_SNOW = (0.006, 0.012, 0.02, 0.032, 0.05)
"""Share of pixels at which a flake lies, of flakes a hundredth of the side wide."""
_WHITE = (0.03, 0.07, 0.12, 0.18, 0.25)
_SMALLEST = 96
"""Side below which streaks and flakes are counted as on a picture this large."""


def fog(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Let fog drift in: brighter, paler, and thicker further away, which is higher up."""
    height = canvas.shape[0]
    distance = np.linspace(1.1, 0.8, height, dtype=np.float32)[:, None]
    patches = np.float32(0.75) + np.float32(0.25) * clouds(canvas, rng, 0.6)
    thickness = spread(np.clip(np.float32(_FOG[step]) * distance * patches, 0, 1), canvas)
    return canvas * (1 - thickness) + np.float32(0.82) * thickness


def rain(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Let rain fall: bright, slanted streaks over a darker and softer picture."""
    side = shorter_side(canvas)
    length = max(2, round(0.09 * side))
    slant = float(rng.uniform(-0.35, 0.35))
    chance = rng.uniform(size=canvas.shape[:2])
    strength = rng.uniform(0.3, 1.0, canvas.shape[:2]).astype(np.float32)
    begun = np.where(chance < _RAIN[step] * _density(side), strength, np.float32(0))
    streaks = np.zeros_like(begun)
    for drop in range(length):
        np.maximum(streaks, np.roll(begun, (drop, round(slant * drop)), axis=(0, 1)), out=streaks)
    streaks = spread(smooth(streaks, 0.3 + side / 800), canvas)
    soft = smooth(canvas, 0.15 * (step + 1) + side * 0.001 * (step + 1))
    dimmed = soft * np.float32(1 - 0.06 * (step + 1))
    wet: Canvas = dimmed + (np.float32(0.85) - dimmed) * np.float32(0.55) * streaks
    return wet


def snow(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Let snow fall: flakes near and far, and whiteness over everything."""
    side = shorter_side(canvas)
    flakes = np.zeros(canvas.shape[:2], dtype=np.float32)
    for share, size in ((1.0, 0.004), (0.25, 0.01), (0.06, 0.02)):
        chance = rng.uniform(size=canvas.shape[:2])
        radius = max(0.5, size * side)
        # Fewer centres where each is larger, so that the white they make stays in proportion.
        expected = share * _SNOW[step] * _density(side) / max(1.0, radius**2)
        centres = (chance < expected).astype(np.float32)
        np.maximum(flakes, np.clip(smooth(centres, radius) * 6 * radius**2, 0, 1), out=flakes)
    paler = canvas + (np.float32(0.9) - canvas) * np.float32(_WHITE[step])
    white: Canvas = paler + (np.float32(0.97) - paler) * np.float32(0.9) * spread(flakes, canvas)
    return white


def _density(side: int) -> float:
    """Tell how many times more often streaks and flakes begin on a small picture."""
    return float(max(1.0, _SMALLEST / max(side, 16)) ** 0.5)
