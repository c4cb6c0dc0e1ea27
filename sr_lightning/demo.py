"""Command `demo`: a page in the browser that upscales images, for this machine only."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sr_lightning.cli.interruption import terminable
from sr_lightning.cli.main import run_command
from sr_lightning.config.demo import HOST, DemoConfig
from sr_lightning.errors import UserError
from sr_lightning.runs.allocator import keep_large_buffers
from sr_lightning.web.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from sr_lightning.web.enlarger import Enlarger


def demo(config: DemoConfig) -> None:
    """Serves the page until the user stops it.

    Args:
        config: The validated config.

    Raises:
        UserError: The network cannot be loaded, or the port is taken.
    """
    keep_large_buffers(config.device)
    # The page may hold other people's images: only this user may read its files, and none are left behind.
    with terminable(), temporary_folder("sr_lightning_demo_") as folder:
        enlarger = _enlarger(config, folder)
        with _served(enlarger, config, folder) as address:
            print(f"{address}\nCtrl-C ends it", flush=True)
            threading.Event().wait()


def _enlarger(config: DemoConfig, folder: Path) -> Enlarger:
    from sr_lightning.builders.load_network import load_network
    from sr_lightning.inference.devices import choose_devices
    from sr_lightning.web.enlarger import Enlarger, checkpoint_weights, pretrained_weights

    weights = pretrained_weights()
    if config.checkpoint is not None:
        own = checkpoint_weights(config.checkpoint, load_network(config.checkpoint), config.scale)
        weights = [own, *(entry for entry in weights if entry.label != own.label)]
    results = folder / "results"
    results.mkdir()
    device = choose_devices([config.device])[0]
    enlarger = Enlarger(weights, results, device=device, max_megapixels=config.max_megapixels)
    if config.scale is not None:
        enlarger.load(weights[0].label, config.scale)
    return enlarger


@contextmanager
def _served(enlarger: Enlarger, config: DemoConfig, folder: Path) -> Iterator[str]:
    """Serves the page and yields its address; nothing leaves this machine."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(folder / "uploads"))
    os.environ.pop("GRADIO_ALLOWED_PATHS", None)  # if set for another gradio app, it would expose folders to this one
    import gradio

    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio requests its own page to check that it is up
    from starlette.middleware import Middleware

    from sr_lightning.web.local_only import LocalOnly
    from sr_lightning.web.page import CSS, build_page, theme

    page = build_page(enlarger, scale=config.scale)
    try:
        _, address, _ = page.launch(
            server_name=HOST,
            server_port=config.port,
            share=False,
            inbrowser=config.browser,
            prevent_thread_lock=True,
            quiet=True,
            max_file_size=round((config.max_megapixels + 1) * 8e6),  # bytes: RGB with alpha takes up to 8 per pixel
            footer_links=[],
            ssr_mode=False,
            enable_monitoring=False,
            app_kwargs={"middleware": [Middleware(LocalOnly)]},
            theme=theme(),
            css=CSS,
        )
    except OSError as error:
        raise UserError(f"port: {config.port or 'all that were tried'}: {error}") from None
    try:
        yield address
    finally:
        page.close(verbose=False)
        gradio.close_all(verbose=False)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("demo", demo, argv)


if __name__ == "__main__":
    sys.exit(main())
