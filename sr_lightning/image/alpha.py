"""Colours spread from the visible parts of an image into the transparent ones."""

from __future__ import annotations

from sr_lightning.image.source_image import Levels


def spread_colours(levels: Levels) -> Levels:
    """Gives each fully transparent pixel the colour of the nearest visible one.

    What is hidden there (often black) would otherwise shine through at the edges of the enlargement.

    Args:
        levels: (H, W, C) with alpha as the last channel.

    Returns:
        A copy, with the alpha as it was; the image itself where nothing or everything is transparent.
    """
    from scipy.ndimage import distance_transform_edt

    hidden = levels[..., -1] == 0
    if not hidden.any() or hidden.all():
        return levels
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    spread = levels.copy()
    spread[hidden, :-1] = levels[rows[hidden], columns[hidden], :-1]
    return spread
