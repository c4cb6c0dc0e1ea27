"""Command `pack`: packs folders of images into shards for `data=streaming`."""

from __future__ import annotations

import shlex
import sys
import time
from typing import Any

from sr_lightning.cli.main import run_command


def pack(arguments: dict[str, Any]) -> None:
    """Packs images and prints a summary.

    Args:
        arguments: Validated arguments of `pack_images`.
    """
    from sr_lightning.data.shards.writer import pack_images
    from sr_lightning.text import counted, listed

    began = time.perf_counter()
    index, bad = pack_images(**arguments)
    seconds = time.perf_counter() - began
    if bad:
        lines = listed([f"{path}: {reason}" for path, reason in bad.items()]).replace("\n", "\n  ")
        print(f"left out {len(bad)} of {len(bad) + len(index.names)} files (on_bad_image=skip):\n  {lines}")
    for lost, count in index.lost.items():
        print(f"{count} of {len(index.names)} images have {lost}")
    output, size = arguments["output"], sum(shard.bytes for shard in index.shards)
    print(
        f"{counted(len(index.names), 'image')}, {size / 1e6:.1f} MB in {counted(len(index.shards), 'shard')}, "
        f"{seconds:.1f} s\n"
        f"{output}\n\nnext, here or with its address in an object store once it is copied there\n"
        f"  python -m sr_lightning.train data=streaming {shlex.quote(f'data.shards.folder={output}')}"
    )


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return run_command("pack", pack, argv)


if __name__ == "__main__":
    sys.exit(main())
