"""Layout of the demo's page: upload on the left; bicubic and result under one slider on the right."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from sr_lightning.errors import FailedError, UserError
from sr_lightning.text import single_line
from sr_lightning.web.enlarger import Enlarged, Enlarger

_TITLE = "sr_lightning"
_FORGOTTEN = (600, 3600)  # seconds: how often copies of uploads are checked, and their maximum age
FONT = ("system-ui", "sans-serif")  # system fonts only: nothing is downloaded
CSS = """
.gradio-container { width: 100%; max-width: 1180px !important; margin: 0 auto !important; }
#head h1 { font-size: 1.6rem; font-weight: 600; margin: 0.6rem 0 0.1rem; }
#head p { color: var(--body-text-color-subdued); margin: 0; }
#facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; margin: 0; font-size: 0.95rem; }
#facts dt { color: var(--body-text-color-subdued); }
#facts dd { margin: 0; overflow-wrap: anywhere; }
"""


def theme() -> Any:
    """Returns a plain theme without external fonts."""
    return gr.themes.Soft(primary_hue="slate", neutral_hue="slate", font=FONT, font_mono=("ui-monospace", "monospace"))


def build_page(enlarger: Enlarger, *, scale: int | None) -> Any:
    """Builds the page.

    Args:
        enlarger: The backend.
        scale: Initial scale; None for 4, or the largest of the first weights.
    """
    first = next(iter(enlarger.weights.values()))
    chosen = scale if scale in first.scales else 4 if 4 in first.scales else first.scales[-1]
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=_FORGOTTEN) as page:
        gr.HTML(
            f"<h1>{_TITLE}</h1><p>Drop an image of up to {enlarger.max_megapixels:g} megapixels. "
            "It stays on this machine.</p>",
            elem_id="head",
        )
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                source = gr.File(label="Image", file_types=["image"], type="filepath", height=160)
                weights = gr.Dropdown(list(enlarger.weights), value=first.label, label="Weights")
                factor = gr.Radio(_choices(first.scales), value=chosen, label="Scale")
                button = gr.Button("Enlarge", variant="primary")
            with gr.Column(scale=3, min_width=320):
                slider = gr.ImageSlider(
                    label="Bicubic | result",
                    type="filepath",
                    format="png",  # otherwise the browser is sent lossy WebP
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=620,
                )
                facts = gr.HTML()
                download = gr.DownloadButton("Download PNG", visible=False)

        def enlarge(
            path: str | None,
            label: str,
            scale: int,
            progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio's way)
        ) -> tuple[tuple[str, str], str, Any]:
            if path is None:
                raise _shown("Choose an image first.")
            try:
                made = enlarger.enlarge(Path(path), label, scale, progress=lambda share: progress(share))
            except (UserError, FailedError, OSError) as error:
                raise _shown(str(error).replace(path, Path(path).name)) from None
            result = str(made.result)
            return (str(made.bicubic), result), _facts(made), gr.DownloadButton(value=result, visible=True)

        def scales_of(label: str, scale: int) -> Any:
            scales = enlarger.weights[label].scales
            return gr.Radio(_choices(scales), value=scale if scale in scales else scales[-1])

        weights.change(scales_of, [weights, factor], factor, show_progress="hidden", api_visibility="private")
        gr.on(
            [button.click, source.upload],
            enlarge,
            [source, weights, factor],
            [slider, facts, download],
            api_name="enlarge",
            show_progress_on=slider,
        )
    return page


def _choices(scales: tuple[int, ...]) -> list[tuple[str, int]]:
    return [(f"x{scale}", scale) for scale in scales]


def _shown(message: str) -> gr.Error:
    """Error for a corner of the page, escaped because the page would interpret a file name as HTML."""
    return gr.Error(html.escape(single_line(message)), title="Not enlarged", print_exception=False)


def _facts(made: Enlarged) -> str:
    done = made.done
    (height, width), (high, wide) = done.source_size, done.size
    rows = {
        "Size": f"{width}x{height} → {wide}x{high} pixels",
        "Network": made.network,
        "Time": f"{done.seconds:.1f} s",
    }
    if done.lr_psnr is not None:
        rows["LR-PSNR"] = f"{done.lr_psnr:.1f} dB (agreement of the result, shrunk again, with the input)"
    rows |= {"Note": "; ".join(done.changes)} if done.changes else {}
    cells = "".join(f"<dt>{name}</dt><dd>{html.escape(single_line(text))}</dd>" for name, text in rows.items())
    return f'<dl id="facts">{cells}</dl>'
