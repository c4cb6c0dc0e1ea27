"""The examples, as they stand there but for the settings in their first cell."""

from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"

pytestmark = [
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="needs a checkout"),
    pytest.mark.filterwarnings("ignore"),  # Lightning's advice about workers and checkpoints
]


@pytest.fixture
def run(capsys):
    """Runs a script with other settings and returns what it prints."""

    def run(name, **settings):
        lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
        assert lines[0].startswith('"""')
        assert sum(line.startswith("# %% ") for line in lines) >= 4
        for key, value in settings.items():
            (i,) = (i for i, line in enumerate(lines) if line.startswith(f"{key} = "))
            lines[i] = f"{key} = {f'Path({str(value)!r})' if isinstance(value, Path) else repr(value)}"
        exec(compile("\n".join(lines), name, "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out

    return run


def test_training_without_hydra(run, folder):
    assert "img_0.png, enlarged 2 times" in run("train_without_hydra", IMAGES=folder, STEPS=2, SCALE=2)
    with Image.open("enlarged.png") as enlarged:
        assert enlarged.size == (224, 192)


def test_an_own_network_begins_as_bicubic(run, folder):
    said = run("own_network_and_loss", IMAGES=folder, STEPS=1)
    gain = float(said.rpartition("gain over bicubic:")[2].split()[0])
    assert abs(gain) < 1.5  # one that begins with random weights is 10 dB away


def test_a_figure_of_any_checkpoint_and_photo(run, folder):
    photo = {"PHOTO": folder / "img_1.png", "TOP, LEFT, HEIGHT, WIDTH": (20, 12, 30, 40)}
    said = run("figure_for_a_paper", CHECKPOINT="edsr_tiny_y_x2", OUTPUT="figure.png", **photo)
    assert said.startswith("figure.png: bicubic ")
    assert "edsr_tiny_y_x2" in said
    with Image.open("figure.png") as figure:
        assert figure.width > 1800  # 7 inches at 300 dots
