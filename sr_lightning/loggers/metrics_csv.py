"""Logger that appends a row for each logged step to the run's `metrics.csv`."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from sr_lightning.errors import UserError
from sr_lightning.files import replacing


class MetricsCsv(Logger):
    """One row per logged step in `metrics.csv`, appended to when a run is resumed.

    Lightning's CSVLogger deletes an existing file and rewrites all of it at every save.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns, rows = self._read()
        self._count = len(rows)

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Name of the run's folder."""
        return self.path.parent.name

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the config is stored in `.hydra/` beside the file."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Appends a row; a new name adds a column."""
        row = {"step": step, **{key: value for key, value in metrics.items() if key != "epoch"}}
        new = [key for key in row if key not in self._columns]
        if new:
            _, rows = self._read()
            self._columns += new
            self._rewrite(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)
        self._count += 1

    @rank_zero_only
    def truncate(self, rows: int) -> None:
        """Keeps only the first rows: a resumed run logs those after its checkpoint again."""
        self._replace(self.rows()[:rows])

    @rank_zero_only
    def convert(self, step: int) -> None:
        """Like `truncate`, for a file of an early version, whose rows carry the number of the preceding step.

        Args:
            step: Step of the checkpoint, for which it is unknown how many rows were logged before it.
        """
        kept = [row for row in self.rows() if int(row["step"]) < step]
        self._replace([row | {"step": str(int(row["step"]) + 1)} for row in kept])

    def rows(self) -> list[dict[str, str]]:
        """Returns all rows as column -> text; an empty text is a value that was not logged."""
        return self._read()[1]

    def flush(self) -> int:
        """Flushes all rows to disk and returns their number."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        return self._count

    def _replace(self, kept: list[dict[str, str]]) -> None:
        if not self.path.exists():
            return
        self._count = len(kept)
        if kept:
            self._rewrite(kept)
        else:
            self.path.unlink()
            self._columns = []

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        if not self.path.exists():
            return [], []
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                whole = [line for line in file if line.endswith("\n")]  # a full disk leaves partial rows
            reader = csv.DictReader(whole, strict=True)
            columns, rows = list(reader.fieldnames or []), list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._damaged(str(error)) from None
        if columns and ("step" not in columns or any(None in row or None in row.values() for row in rows)):
            raise self._damaged("rows and columns do not fit")
        return columns, rows

    def _damaged(self, reason: str) -> UserError:
        return UserError(
            f"{self.path}: is no table of logged values ({reason}); allowed: move it elsewhere, and the log begins anew"
        )

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with replacing(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
