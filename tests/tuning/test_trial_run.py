"""What a study reads from the folder of a trial."""

import json
import zipfile

import pytest

from sr_lightning.checkpoints.integrity import Trailer, write_trailer
from sr_lightning.tuning.trial_run import results


@pytest.mark.parametrize(("kept", "perceptual"), [(2, 0.3), (4, 0.5), (3, None)])
def test_the_second_objective_is_that_of_the_weights_that_are_kept(tmp_path, kept, perceptual):
    """Which `callbacks.checkpoints.monitor` may have chosen by another value than the gain."""
    (tmp_path / "metrics.csv").write_text("step,val/gain,val/perceptual\n2,1.0,0.3\n4,2.0,0.5\n")
    rows = [{"method": "bicubic"}, {"method": "EDSR", "params": 7}]
    (tmp_path / "results.json").write_text(json.dumps({"objective": 1.0, "rows": rows}))
    (tmp_path / "checkpoints").mkdir()
    with (tmp_path / "checkpoints/best.ckpt").open("w+b") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("weights", "of that step")
        write_trailer(file, Trailer(kept, None))
    assert results(tmp_path).get("perceptual") == perceptual
