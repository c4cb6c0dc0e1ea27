"""Enlarges an image with an ONNX file of sr_lightning; needs onnxruntime, numpy and Pillow, nothing else.

`python <name>_upscale.py photo.png` writes photo_x4.png beside photo.png, using the model <name>.onnx beside this
script. This file is self-contained: it may be copied and changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

_KEY = "sr_lightning_export"
_SUFFIX = "_upscale"
_LUMA = (65.481 / 219, 128.553 / 219, 24.966 / 219)  # BT.601 weights, which sum to 1
Array = np.ndarray[Any, Any]


class InputError(Exception):
    """Invalid input: a command-line argument or a file."""


class Model:
    """A network in an ONNX file.

    Args:
        path: The file.
        tile: Largest side of a tile in pixels, without the overlap; 0 processes the whole image at once.
    """

    def __init__(self, path: Path, tile: int) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise InputError("onnxruntime is missing; allowed: pip install onnxruntime") from None
        if not path.is_file():
            raise InputError(f"{path} is not there; allowed: --model <file>.onnx")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            card = json.loads(self._session.get_modelmeta().custom_metadata_map[_KEY])
            self.scale, self._least = int(card["scale"]), int(card["min_size"])
            self._margin, self._step = card["tile_margin"], int(card["tile_step"])
            if min(self.scale, self._step, 1 if self._margin is None else self._margin + 1) < 1:
                raise ValueError(f"its {_KEY} holds numbers that cannot be")
        except KeyError:
            raise InputError(f"{path} is none of sr_lightning's; allowed: a file that it has exported") from None
        except Exception as error:  # onnxruntime has a separate class for each kind
            raise InputError(f"{path} cannot be loaded: {error}") from None
        self._input = self._session.get_inputs()[0].name
        # Tiles would change the result of a network whose receptive field is the whole image.
        self._tile = 0 if self._margin is None else tile and max(tile, 2 * self._margin)

    def rgb(self, image: Array) -> Array:
        """Enlarges (h, w, 3) float32 in [0, 1] -> (h·s, w·s, 3), not clamped."""
        height, width = image.shape[:2]
        if min(height, width) < self._least:
            raise InputError(f"the image is {width}x{height}; allowed: {self._least} pixels and more on each side")
        s = self.scale
        try:
            out = np.empty((height * s, width * s, 3), np.float32)
        except (MemoryError, ValueError):
            raise InputError(f"the image is {width}x{height}, too large for the memory at x{s}") from None
        for rows in _parts(height, self._tile):
            for columns in _parts(width, self._tile):
                top, left = self._window(rows, height), self._window(columns, width)
                lr = np.ascontiguousarray(image[top, left].transpose(2, 0, 1)[None])
                sr = self._session.run(None, {self._input: lr})[0][0].transpose(1, 2, 0)
                if sr.shape != (lr.shape[2] * s, lr.shape[3] * s, 3):
                    raise InputError(f"the model makes {sr.shape} of {lr.shape[2:]}; allowed: one that enlarges x{s}")
                y, x = (rows.start - top.start) * s, (columns.start - left.start) * s
                n, m = (rows.stop - rows.start) * s, (columns.stop - columns.start) * s
                out[rows.start * s : rows.stop * s, columns.start * s : columns.stop * s] = sr[y : y + n, x : x + m]
        return out

    def grey(self, plane: Array) -> Array:
        """Enlarges a grey image, (h, w) -> (h·s, w·s): the luma of the RGB result."""
        result: Array = self.rgb(np.repeat(plane[..., None], 3, axis=2)) @ np.array(_LUMA, np.float32)
        return result

    def alpha(self, plane: Array) -> Array:
        """Like `grey`, but exactly 0 or 1 where the image is so all around a pixel."""
        if plane.min() == plane.max():
            return np.full([side * self.scale for side in plane.shape], plane.flat[0], np.float32)
        made = self.grey(plane)
        around = np.stack(list(_shifted(np.pad(plane, 1, mode="edge"))))
        for value, flat in ((1, around.min(0) == 1), (0, around.max(0) == 0)):
            made[flat.repeat(self.scale, 0).repeat(self.scale, 1)] = value
        return made

    def _window(self, part: slice, n: int) -> slice:
        """Returns a tile's input window: the tile and its margin, extended outwards to multiples of the step."""
        if not self._tile:
            return slice(0, n)
        first = (part.start - self._margin) // self._step * self._step
        last = -(-(part.stop + self._margin) // self._step) * self._step
        return slice(max(0, first), min(n, last))


def _parts(n: int, tile: int) -> list[slice]:
    """Splits n into as few and as equal parts as possible."""
    count = -(-n // tile) if tile else 1
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def _shifted(padded: Array) -> Iterator[Array]:
    """Yields the 3x3 neighbourhood of each pixel, including itself."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    for y in range(3):
        for x in range(3):
            yield padded[y : y + height, x : x + width]


def spread_colours(rgb: Array, alpha: Array) -> Array:
    """Grows the colours of visible pixels into transparent ones, whose hidden colours (often black) would bleed in."""
    rgb, known = rgb.copy(), alpha > 0
    for _ in range(64):  # pixels: beyond the receptive field of any small network
        if known.all() or not known.any():
            break
        weights = sum(_shifted(np.pad(known, 1).astype(np.float32)))
        grown = ~known & (weights > 0)
        for channel in range(3):
            sums = sum(_shifted(np.pad(rgb[..., channel] * known, 1)))
            rgb[grown, channel] = (sums / np.maximum(weights, 1))[grown]
        known |= grown
    return rgb


def upscale(model: Model, image: Image.Image) -> Image.Image:
    """Enlarges an image: greyscale stays greyscale (16 bit too), alpha is kept, everything else becomes RGB."""
    if image.mode.startswith("I;16"):
        levels = model.grey(np.asarray(image, np.float32) / 65535)
        return Image.fromarray(_levels(levels, np.uint16))
    if image.mode in ("1", "L"):
        return Image.fromarray(_levels(model.grey(_unit(image.convert("L"))), np.uint8))
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not has_alpha:
        return Image.fromarray(_levels(model.rgb(_unit(image.convert("RGB"))), np.uint8))
    pixels = _unit(image.convert("RGBA"))
    rgb, alpha = pixels[..., :3], pixels[..., 3]
    made = np.concatenate([model.rgb(spread_colours(rgb, alpha)), model.alpha(alpha)[..., None]], axis=2)
    enlarged = Image.fromarray(_levels(made, np.uint8))
    return enlarged.convert("LA") if image.mode in ("LA", "La") else enlarged


def _unit(image: Image.Image) -> Array:
    unit: Array = np.asarray(image, np.float32) / np.float32(255)
    return unit


def _levels(x: Array, dtype: type[Any]) -> Array:
    """Converts [0, 1] to integer levels, rounded half up."""
    highest = np.iinfo(dtype).max
    levels: Array = np.floor(np.clip(x, 0, 1) * highest + 0.5).astype(dtype)
    return levels


def _read(path: Path) -> Image.Image:
    if path.exists() and not path.is_file():  # reading from a pipe may never end
        raise InputError(f"{path} is no file")
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise InputError(f"{path} has several frames; allowed: one")
            if image.mode in ("F", "I"):
                raise InputError(f"{path} has values of 32 bits; allowed: 8 or 16 bits")
            upright = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise InputError(f"{path} is not there") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from None
    return upright


def _write(path: Path, image: Image.Image, profile: bytes | None) -> None:
    """Writes an image atomically: never a partial file under the final name."""
    part = path.with_name(f"{path.name}.part")
    kind = Image.registered_extensions()[path.suffix.lower()]
    options: dict[str, Any] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}.get(kind, {})
    try:
        image.save(part, format=kind, icc_profile=profile, **options)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _output(arguments: argparse.Namespace, scale: int) -> Path:
    source: Path = arguments.input
    output: Path = arguments.output or source.with_name(f"{source.stem}_x{scale}.png")
    if Image.registered_extensions().get(output.suffix.lower()) not in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        raise InputError(f"{output}: allowed: a name that ends in .png, .jpg, .webp, .tiff or .bmp")
    if output.exists() and (output.samefile(source) or output.samefile(arguments.model)):
        raise InputError(f"{output} would be overwritten by its own result; allowed: another output")
    if output.exists() and not arguments.overwrite:
        raise InputError(f"{output} is there; allowed: another output, or --overwrite")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is not there; allowed: a folder that is")
    return output


def _tile(text: str) -> int:
    if not text.isdecimal() or 0 < int(text) < 16:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: 16 and more, or 0 for the whole image")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 for success, 1 for a failure, 2 for invalid input."""
    script = Path(__file__)
    model = script.with_name(f"{script.stem.removesuffix(_SUFFIX)}.onnx")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("input", type=Path, help="an image")
    parser.add_argument("output", type=Path, nargs="?", help="default: <input>_x<scale>.png")
    parser.add_argument("--model", type=Path, default=model, help=f"default: {model.name} beside this script")
    parser.add_argument("--tile", type=_tile, default=256, help="pixels a side; 0: the whole image (default: 256)")
    parser.add_argument("--overwrite", action="store_true", help="replace the output where it is there")
    arguments = parser.parse_args(argv)
    try:
        network = Model(arguments.model, arguments.tile)
        image = _read(arguments.input)
        output = _output(arguments, network.scale)
        enlarged = _fitted(upscale(network, image), output)
        _write(output, enlarged, image.info.get("icc_profile") if image.mode == enlarged.mode else None)
    except (InputError, OSError) as error:
        print(f"{script.name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    print(f"{arguments.input} {image.width}x{image.height} -> {output} {enlarged.width}x{enlarged.height}")
    return 0


def _fitted(image: Image.Image, output: Path) -> Image.Image:
    """Converts to what the format supports: transparency is composited on white, 16 bits become 8."""
    kind = Image.registered_extensions()[output.suffix.lower()]
    if kind in ("JPEG", "BMP") and image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB" if image.mode == "RGBA" else "L")
    if kind not in ("PNG", "TIFF") and image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) / 257 + 0.5).astype(np.uint8))
    return image


if __name__ == "__main__":
    sys.exit(main())
