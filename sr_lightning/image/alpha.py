"""Filling of transparent pixels with the colours of visible ones."""

from __future__ import annotations

from sr_lightning.image.source_image import Levels


def spread_colours(levels: Levels) -> Levels:
    """Gives each fully transparent pixel the colour of the nearest visible one.

    The hidden colour (often black) would otherwise bleed into the edges of the enlargement.

    Args:
        levels: (H, W, C), with alpha as the last channel.

    Returns:
        A copy with unchanged alpha; the image itself if none or all of it is transparent.
    """
    from scipy.ndimage import distance_transform_edt

    hidden = levels[..., -1] == 0
    if not hidden.any() or hidden.all():
        return levels
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    spread = levels.copy()
    spread[hidden, :-1] = levels[rows[hidden], columns[hidden], :-1]
    return spread
