"""Which image files a run leaves."""

from pathlib import Path
from types import SimpleNamespace

import torch

from sr_lightning.callbacks import Pictures
from sr_lightning.data.batch import EvalBatch


def test_images_of_one_name_in_two_folders_have_a_file_each(tmp_path):
    trainer = SimpleNamespace(global_step=2, sanity_checking=False, is_global_zero=True, loggers=[])
    pictures = Pictures(folder=str(tmp_path), n_validation=3)
    for _ in range(2):  # and the same ones at the next validation
        pictures.on_validation_epoch_start(trainer, None)
        for key, name in enumerate(["p0.png", "p0.png", "p1.png"]):
            hr = torch.full((1, 3, 32, 32), 40 * key, dtype=torch.uint8)
            batch = EvalBatch(torch.rand(1, 3, 8, 8), hr, 4, "A", name, key)
            pictures.on_validation_batch_end(trainer, None, torch.rand(1, 3, 32, 32), batch, key)
    names = sorted(path.name for path in Path(tmp_path).rglob("*.png"))
    assert names == ["step0000002_A_x4_p0.png", "step0000002_A_x4_p0_2.png", "step0000002_A_x4_p1.png"]
