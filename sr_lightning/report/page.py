"""Self-contained HTML page of a comparison; run content is never interpreted as markup or script."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from sr_lightning.report.comparison import Comparison
from sr_lightning.report.entries import BICUBIC, At, Image
from sr_lightning.report.images import MEDIA_TYPE, MOST_METHODS, Encoded, Versions, fit
from sr_lightning.report.plots import Plot
from sr_lightning.report.ranking import Contender, Group, per_image
from sr_lightning.report.settings import shown_value
from sr_lightning.report.table import Block, blocks
from sr_lightning.text import enumerated, single_line

_MB = 1_000_000
_FILES = ("page.html", "page.css", "page_tables.js", "page_layers.js", "page_viewer.js", "page_start.js")
HOW_TO_GET_IMAGES = (
    "No images: they are made with images=true where the runs' checkpoints and test images are at hand, and are not "
    "kept in the runs' folders."
)


def page(
    comparison: Comparison, plots: Sequence[Plot], images: Sequence[Sequence[Versions]], *, megabytes: float
) -> str:
    """Renders the page as HTML.

    Args:
        comparison: The comparison.
        plots: Plots to embed.
        images: Images for each group of the comparison, in the order of the page.
        megabytes: Maximum size of the page; images are cropped to fit.
    """
    document = _document(comparison, plots)
    budget = int(megabytes * _MB) - len(_rendered(comparison, document)) - 1000 * sum(map(len, images))
    mixed = [versions for group in _alternating(images) for versions in group]
    kept = {id(encoded.versions): encoded for encoded in fit(mixed, budget)}
    for group, found, own in zip(comparison.groups, images, document["groups"], strict=True):
        own["images"] = [_image(group, kept[id(v)]) for v in found if id(v) in kept]
        numbers = {(image["set"], image["name"]): i for i, image in enumerate(own["images"])}
        for point in own["scatter"]:
            point["image"] = numbers.get((point.pop("set"), point["name"]))
    document["images_note"] = _images_note(comparison.groups, images, list(kept.values()), megabytes)
    return _rendered(comparison, document)


def _alternating(images: Sequence[Sequence[Versions]]) -> list[list[Versions]]:
    """Interleaves the groups' images, so that every group is represented when the budget runs out."""
    most = max(map(len, images), default=0)
    return [[group[i] for group in images if i < len(group)] for i in range(most)]


def _rendered(comparison: Comparison, document: dict[str, Any]) -> str:
    here = files("sr_lightning.report")
    template, style, *scripts = ((here / name).read_text(encoding="utf-8") for name in _FILES)
    script = "\n".join(scripts)
    hashes = {name: _hash(text) for name, text in (("style", style), ("script", script))}
    policy = (
        f"default-src 'none'; img-src data:; style-src {hashes['style']}; script-src {hashes['script']}; "
        "base-uri 'none'; form-action 'none'"
    )
    return template.format(
        policy=policy, title=html.escape(document["title"]), style=style, script=script, data=_json(document)
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Serialises JSON for embedding in HTML: no character can close the element or open another."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _title(comparison: Comparison) -> str:
    """Title with the number of runs; for one run, or one evaluation of several methods, their names."""
    count = len({entry.folder for entry in comparison.entries})
    if count > 1:
        return f"Comparison of {count} runs"
    names = list(dict.fromkeys(comparison.label(entry) for entry in comparison.entries))
    return f"Comparison of {enumerated(names)}" if len(names) > 1 else f"Run {names[0]}"


def _document(comparison: Comparison, plots: Sequence[Plot]) -> dict[str, Any]:
    """Data for the page's script, without the images."""
    return {
        "title": single_line(_title(comparison)),
        "blocks": [_block(block) for block in blocks(comparison, narrow=False)],
        "notes": [*comparison.notes, *comparison.findings],
        "groups": [_group(comparison, group) for group in comparison.groups],
        "plots": [{"title": plot.title, "src": _url("image/svg+xml", plot.svg)} for plot in plots],
        "settings": _settings(comparison),
        "commands": _commands(comparison),
        "images_note": "",
    }


def _block(block: Block) -> dict[str, Any]:
    return {
        "title": block.title,
        "columns": block.columns,
        "rows": block.rows,
        "texts": block.texts,
        "ranks": "to the best" in block.columns,
    }


def _group(comparison: Comparison, group: Group) -> dict[str, Any]:
    names = comparison.group_names(group)
    contenders = [ranked.contender for ranked in group.ranked]
    scatter = []
    for at in group.sets:
        tables = [per_image(contender, at, "psnr_y") for contender in contenders]
        base = per_image(contenders[0], at, f"{BICUBIC}_psnr_y")
        for image in dict.fromkeys(image for table in tables for image in table):
            values = [base.get(image), *(table.get(image) for table in tables)]
            scatter.append({"set": at.set, "name": image.name, "values": values, "image": None})
    return {
        "title": single_line(group.title),
        "methods": ["HR", BICUBIC, *names[:MOST_METHODS]],
        "scatter_methods": [BICUBIC, *names] if scatter else [],
        "scatter": scatter,
        "images": [],
    }


def _image(group: Group, encoded: Encoded) -> dict[str, Any]:
    versions = encoded.versions
    height, width = versions.hr.shape[:2]
    by_number = dict(zip(sorted(versions.methods), encoded.files[2:], strict=True))
    contenders = [ranked.contender for ranked in group.ranked[:MOST_METHODS]]
    sources = [*encoded.files[:2], *(by_number.get(i) for i in range(len(contenders)))]
    what = "the whole image"
    if not encoded.is_whole:
        what = (
            f"a part of {encoded.width}x{encoded.height} out of {width}x{height} at x {encoded.left}, y {encoded.top}, "
            "where the methods differ most; PSNR and SSIM are of the whole image"
        )
    return {
        "set": versions.at.set,
        "name": single_line(versions.image.name),
        "x": encoded.left,
        "y": encoded.top,
        "w": encoded.width,
        "h": encoded.height,
        "src": [None if file is None else _url(MEDIA_TYPE, file) for file in sources],
        "figures": ["", *_figures(contenders, versions.at, versions.image)],
        "spots": encoded.spots,
        "note": f"{single_line(versions.image.name)}: {what}, without losses.",
    }


def _figures(contenders: Sequence[Contender], at: At, image: Image) -> list[str]:
    """Figures of bicubic and of each contender's first run, whose image is shown."""
    first = contenders[0].first.images.get(at, {}).get(image, {})
    own = [contender.first.images.get(at, {}).get(image, {}) for contender in contenders]
    pairs = [(first.get("bicubic_psnr_y"), first.get("bicubic_ssim_y"))]
    pairs += [(values.get("psnr_y"), values.get("ssim_y")) for values in own]
    return ["" if psnr is None or ssim is None else f"{psnr:.2f} dB / {ssim:.4f}" for psnr, ssim in pairs]


def _settings(comparison: Comparison) -> dict[str, Any]:
    """Table of the differing keys, one per row."""
    runs = [entry for entry in comparison.entries if entry.settings]
    rows = [[single_line(key), *(shown_value(run.settings, key) for run in runs)] for key in (*comparison.keys, "seed")]
    rows = rows if len(runs) > 1 else []
    return {
        "columns": ["key", *(comparison.label(run) for run in runs)],
        "rows": rows,
        "texts": ["key"],
        "ranks": False,
    }


def _commands(comparison: Comparison) -> list[tuple[str, str]]:
    """Commands with the labels of their runs; the jobs of a sweep share one command."""
    own = [("this comparison", comparison.command)] if comparison.command else []
    found: dict[str, list[str]] = {}
    for entry in comparison.entries:
        if entry.command:
            found.setdefault(entry.command, []).append(comparison.label(entry))
    own += [(enumerated(list(dict.fromkeys(labels)), most=4), command) for command, labels in found.items()]
    return [(label, single_line(command)) for label, command in own]


def _images_note(
    groups: Sequence[Group], images: Sequence[Sequence[Versions]], kept: Sequence[Encoded], megabytes: float
) -> str:
    count = sum(map(len, images))
    if not count:
        return HOW_TO_GET_IMAGES
    parts = ["Images stand in the order of how far the methods differ, and are held without losses."]
    if any(len(group.ranked) > MOST_METHODS for group in groups):
        parts.append(f"Of each group the first {MOST_METHODS} methods are shown.")
    if any(len(ranked.contender.runs) > 1 for group in groups for ranked in group.ranked):
        parts.append("Of runs that differ in their seed alone, the first is shown.")
    if len(kept) < count:
        parts.append(f"{count - len(kept)} more would not fit {megabytes:g} MB (page_mb).")
    cropped = sum(not encoded.is_whole for encoded in kept)
    if cropped:
        parts.append(
            f"Of {cropped} the part is shown in which the methods differ most: whole, they would not fit {megabytes:g} "
            "MB (page_mb)."
        )
    return " ".join(parts)


def _url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
