"""Habits of other tools at the command line: each is answered with what to type here."""

from pathlib import Path

import pytest

from sr_lightning.cli.arguments import parse_arguments
from sr_lightning.config.signatures import similar_name
from sr_lightning.data.files import find_images
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main as evaluate
from sr_lightning.train import main


def answer(capsys, *arguments, command=main):
    assert command(list(arguments)) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert "usage:" not in said.err
    assert not Path("runs").exists()
    return said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # words of other tools, and keys without their section
        (["lr=0.001"], "lr: no such key; did you mean 'optimizer.lr'?"),
        (["+lr=0.001"], "lr: no such key; did you mean 'optimizer.lr'?"),
        (["epochs=3"], "did you mean 'trainer.max_steps'? (training is counted in optimizer steps)"),
        (["batch_size=4"], "did you mean 'data.batch_size'?"),
        (["gpus=1"], "did you mean 'trainer.devices'? (with trainer=gpu)"),
        (["max_steps=10"], "did you mean 'trainer.max_steps'?"),
        (["patch=48"], "did you mean 'data.patch_size'?"),
        (["workers=2"], "did you mean 'data.num_workers'?"),
        (["fp16=true"], "did you mean 'trainer.precision'? (16-mixed or bf16-mixed)"),
        (["resume=a"], "did you mean 'ckpt_path'?"),
        (["wandb=online"], "did you mean 'logger.wandb.mode'?"),
        (["data_dir=a"], "did you mean 'data.train_dir'? (with data=folder"),
        (["optimizer.learning_rate=1"], "optimizer.learning_rate: no such key; did you mean 'lr'?"),
        (["+optimizer.learning_rate=1"], "optimizer.learning_rate: no such key; did you mean 'lr'?"),
        (["optimiser.lr=1"], "there is no section 'optimiser'; did you mean 'optimizer.lr'?"),
        (["data.tets.Mine=a"], "did you mean '+data.test.Mine=<folder>'?"),
        # only what is there is suggested, and for an entry of one's own how it is added
        (["loss.terms.l1.weight=1"], "'loss.terms.l1'; allowed: ssim, ms_ssim, gradient, tv, frequency, focal_freq"),
        (["loss.terms.l1.weight=1"], "or a new one by +loss.terms.l1={_target_: …, weight: …}"),
        (["loss.terms.sim.weight=1"], "did you mean 'loss.terms.ssim'? allowed: ssim, "),
        (["lss.terms.ssim.weight=1"], "did you mean 'loss.terms.ssim.weight'?"),
        (["optimiser.l=1"], "did you mean 'optimizer.lr'? allowed: betas, eps, lr"),
        (["optimiser.foo=1"], "did you mean the section 'optimizer'? allowed: betas, eps, lr"),
        (["callbacks.ema.decay=0.9"], "allowed: callbacks=ema, or checkpoints, "),
        (["trainer.devces.x=1"], "there is no section 'trainer.devces'; did you mean 'devices'? allowed: "),
        # a plus only where a new key is taken
        (["optimizer.maximize=true"], "allowed: +optimizer.maximize=… to add it"),
        (["callbacks.mine=3"], "allowed: +callbacks.mine={_target_: …} to add it"),
        (["+scale=3"], "+scale=3: scale is there already; allowed: scale=3"),
        (["~optimizer.foo"], "optimizer.foo: no such key"),
        # options
        (["--optimizer.lr=1e-3"], "--optimizer.lr=1e-3: no such option; did you mean optimizer.lr=1e-3?"),
        (["--lr", "1e-3"], "--lr: no such option; did you mean optimizer.lr=1e-3?"),
        (["--batch-size", "4"], "did you mean data.batch_size=4?"),
        (["--resume"], "--resume: no such option; allowed: ckpt_path=last"),
        (["--config", "x.yaml"], "--config: no such option; allowed: --config-dir=<your folder> experiment=<name>"),
        (["--cfg", "x"], "invalid choice: 'x'"),
        (["--experimental-rerun", "x"], "loads a pickle"),
        (["--resolve", "scale=2"], "allowed: beside --cfg job"),
        (["--run", "-m"], "-m, --run: found beside each other"),
        (["--cfg", "job", "-m"], "beside a question such as --cfg"),
        (["--config-dir", "nowhere"], "--config-dir: nowhere is not there"),
        # no key=value
        (["photo.jpg"], "photo.jpg: found no '=', allowed: key=value"),
        (["scale:4"], "scale:4: found a ':', allowed: scale=4"),
        (["scale==4"], "allowed: scale=4"),
        (["optimizer.lr = 0.1"], "found spaces around the '=', allowed: optimizer.lr=0.1"),
        (
            ["seed=2", "data.batch_size", "=", "4"],
            "data.batch_size = 4: found spaces around the '=', allowed: data.batch",
        ),
        (["data.batch_size=", "4"], "data.batch_size= 4: found spaces around the '=', allowed: data.batch_size=4"),
        (["data.batch_size", "=4"], "data.batch_size =4: found spaces around the '=', allowed: data.batch_size=4"),
        (
            ["model={_target_:", "mine.Net,", "scale:", "4}", "sede=3"],
            "allowed: 'model={_target_: mine.Net, scale: 4}'",
        ),
        (["model={_target_:", "mine.Net,", "scale:", "4}", "sede=3"], "sede: no such key; did you mean 'seed'"),
        (["model={_target_:", "mine.Net"], "model: found '{_target_:', whose brackets"),
        (["help"], "help: found no '='; did you mean --help?"),
        (["src"], "src: found no '=', allowed: key=value, such as scale=2"),
        (["=3"], "found no key before the '='"),
        (['model.name="a'], "model.name: found '\"a', whose brackets, quotes or other signs cannot be read"),
        # lists and choices
        (["scale=2,3"], "scale: found 2,3, allowed: one value, a list scale=[2,3], or with -m a sweep"),
        (["model=3"], "model: found 3, allowed: atd, bicubic, "),
        (["experiment=edsr_tiny_y_t291_x44"], "did you mean 'quick/edsr_tiny_y_t291_x4'? allowed: gpu/"),
        # own code
        (["model._target_=mynet.Net"], "model._target_: found 'mynet.Net', but no module 'mynet'"),
    ],
)
def test_what_is_answered(arguments, said, capsys):
    assert said in answer(capsys, *arguments)


def test_evaluate_has_keys_of_its_own(capsys):
    said = answer(capsys, "weights=a", "gpus=2", command=evaluate)
    assert "weights: no such key; did you mean 'checkpoint'?" in said
    assert "gpus: no such key; did you mean 'devices'? (with accelerator=gpu)" in said


def test_a_pair_of_folders_with_the_scale_in_its_name(capsys):
    said = answer(capsys, "+data.test.V={hr: my (1) photos, lr: b/X{scale}}", "scale=3")
    assert "data.test.V.hr: my (1) photos is not there" in said
    assert "data.test.V.lr: b/X3 is not there" in said


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("defaults: [train, _self_]\nseed: [1\n", "broken.yaml, line 3"),
        ("defaults: [train, _self_, {override model: nope}]\n", "nope"),
    ],
)
def test_a_broken_config_of_the_users_own_is_told_and_no_value_is_blamed(capsys, content, told):
    Path("mine").mkdir()
    Path("mine/broken.yaml").write_text(content)
    said = answer(capsys, "--config-dir=mine", "--config-name=broken", "loss.beta=0.1", "+note=x")
    assert told in said
    assert "loss.beta" not in said
    assert "Config search path" not in said


def test_flags_may_stand_among_the_overrides():
    Path("mine").mkdir()
    found = parse_arguments(["scale=2", "-m", "--config-dir", "mine", "seed=1,2", "--config-name", "x"], "train")
    assert (found.overrides, found.is_sweep) == (["scale=2", "seed=1,2"], True)
    assert (found.config_dir, found.config_name) == ("mine", "x")
    assert found.flags == ["--multirun", "--config-name=x", "--config-dir=mine"]


def test_a_word_alone_is_taken_for_the_commands_object(capsys, tmp_path):
    from sr_lightning.compare import main as compare
    from sr_lightning.upscale import main as upscale

    assert "photo.jpg: found no '=', allowed: key=value, such as input=photo.jpg" in answer(
        capsys, "photo.jpg", command=upscale
    )
    assert "such as runs=some/run" in answer(capsys, "some/run", command=compare)
    assert "such as checkpoint=best.ckpt" in answer(capsys, "best.ckpt", command=evaluate)
    (tmp_path / "my photos").mkdir()
    said = answer(capsys, "data=folder", "data.train_dir=my", "photos")
    assert "data.train_dir=my photos: found no quotes, allowed: 'data.train_dir=my photos'" in said
    assert "such as data=folder data.train_dir=my photos" in answer(capsys, "my photos")


def test_a_misspelt_class_of_ones_own(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine_too.py").write_text("class Net: ...\nclass Loss: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = answer(capsys, "model={_target_: mine_too.Nett}")
    assert "model._target_: found 'mine_too.Nett', did you mean 'mine_too.Net'?" in said
    (tmp_path / "mine_star.py").write_text("from mine_too import *\nclass Net: ...\n")
    assert similar_name("mine_star.Nett") is None  # a star may bring it
    assert similar_name("mine_too.Other") is None
    assert similar_name("mine_too.Net") is None


def test_a_folder_of_ones_own_for_a_set_of_named_files(capsys, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/brick.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"photos lacks coins\.png; allowed: data=folder, or data\.train_files=null"):
        find_images(tmp_path / "photos", files=["brick.png", "coins.png"], key="data.train_dir")


def test_what_must_be_given_says_what_it_is(capsys):
    from sr_lightning.compare import main as compare
    from sr_lightning.pack import main as pack

    assert "runs: must be given, allowed: folders of runs, sweeps and evaluations" in answer(capsys, command=compare)
    said = answer(capsys, command=pack)
    assert "input: must be given, allowed: one folder or a list\n" in said
    assert "output: must be given, allowed: the folder that is made\n" in said
    assert "data.train_dir: must be given, allowed: one folder or a list\n" in answer(capsys, "data=folder")
