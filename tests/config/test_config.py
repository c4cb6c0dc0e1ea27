"""From a command line to a checked config, without torch: everything that is wrong, in one message."""

import subprocess
import sys

import pytest

from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import register_resolvers
from sr_lightning.config.evaluate import check_evaluate
from sr_lightning.config.overrides import quote_path
from sr_lightning.config.train import check_train
from sr_lightning.errors import UserError

register_resolvers()


def jobs(*overrides, name="train", is_sweep=False):
    quoted = [quote_path(o, is_sweep=is_sweep) for o in overrides]
    return compose_jobs(name, quoted, config_dir=None, config_name=None, is_sweep=is_sweep)


def checked(*overrides):
    (job,) = jobs(*overrides)
    return check_train(job.config)


def findings(*overrides):
    with pytest.raises(UserError) as caught:
        checked(*overrides)
    return str(caught.value)


def test_the_default_config_is_right():
    config = checked()
    assert config.scale == [4]
    assert config.data["scale"] == 4
    assert config.loss["beta"] == 0.0
    assert config.trainer["max_steps"] > 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        # unknown and mistyped keys, wherever they stand
        ("+loss.bta=0.1", "loss.bta: no such key; did you mean 'beta'?"),
        ("scal=2", "scal: no such key; did you mean 'scale'?"),
        ("data.batchsize=4", "data.batchsize: no such key; did you mean 'batch_size'?"),
        ("+data.batchsize=4", "data.batchsize: no such key; did you mean 'batch_size'?"),
        ("+optimizer.momentum=0.9", "optimizer.momentum: no such key"),
        ("+optimizer.learning_rate=1", "optimizer.learning_rate: no such key"),
        ("+scheduler.rises=0.2", "scheduler.rises: no such key; did you mean 'rise'?"),
        ("+model.n_feat=3", "model.n_feat: no such key; did you mean 'n_feats'?"),
        ("+trainer.max_step=3", "trainer.max_step: no such key; did you mean 'max_steps'?"),
        ("+paths.dat=x", "paths.dat: no such key; did you mean 'data'?"),
        ("+loss.perceptual.layer=x", "loss.perceptual.layer: no such key; did you mean 'layers'?"),
        ("+callbacks.pictures.zom=3", "callbacks.pictures.zom: no such key; did you mean 'zoom'?"),
        ("+logger.wandb.projekt=x", "logger.wandb.projekt: no such key; did you mean 'project'?"),
        ("+nothing.at.all=3", "nothing: no such key"),
        ("model=edsr_tiney", "edsr_tiney"),
        ("dat=sample", "dat: no such key; did you mean 'data'?"),
        # what replaces a section, and what depends on others
        ("trainer.devices=-1", "trainer.devices: found -1, all GPUs, but this runs on the CPU"),
        ("hydra.run.dir=", "hydra.run.dir: found '', allowed: a folder"),
        ("loss=3", "loss"),
        ("adversarial=srgn", "adversarial: found 'srgn', did you mean 'srgan'?"),
        ("adversarial.weight=1", "adversarial.weight: there is no section 'adversarial'; adversarial=… chooses one"),
        ("scale=[]", "scale: found []"),
        ("data=t291", "data.train_dir"),
        ("model.fresh=[tail]", "model.fresh: found ['tail'], but model.weights names nothing to start from"),
        # grammar
        ("loss.beta=[1,", "loss.beta: found '[1,', whose brackets"),
        ("=3", "=3"),
        ("~nothing", "nothing"),
        ("+data.val.a/b=.", "data.val.a/b"),
    ],
)
def test_bad_input_names_the_key_and_what_is_allowed(override, said):
    assert said in findings(override)


@pytest.mark.parametrize("override", ["scale=2.5", "seed=abc", "loss.perceptual.backbone=5"])
def test_a_value_that_other_keys_take_over_is_one_finding(override):
    (found,) = findings(override).splitlines()
    assert found.startswith(f"{override.partition('=')[0]}: found ")


def test_a_wrong_scale_of_an_evaluation_is_one_finding():
    (job,) = jobs("model=bicubic", "scale=2.5", "data=sample", name="evaluate")
    with pytest.raises(UserError, match=r"\Ascale: found 2\.5, allowed: one of 2, 3, 4, 8, [^\n]*\Z"):
        check_evaluate(job.config)


@pytest.mark.parametrize(
    "said",
    [
        # types and ranges
        {
            "seed=abc": "seed: found 'abc', allowed: a whole number from 0",
            "data.batch_size=lots": "data.batch_size: found 'lots', allowed: a whole number",
            "compile=maybe": "compile: found 'maybe', allowed: true or false",
            "data.augment=maybe": "data.augment: found 'maybe', allowed: true or false",
            "optimizer.lr=fast": "optimizer.lr: found 'fast'",
            "model.n_resblocks=-1": "model.n_resblocks: found -1, allowed: 1 and more",
            "loss.perceptual.shift=-1": "loss.perceptual.shift: found -1, allowed: 0 and more pixels",
            "model.n_feats=many": "model.n_feats: found 'many', allowed: a whole number",
            "model.activation=swish": "model.activation: found 'swish'",
            "model.upsampler=pixelshufle": "did you mean 'pixelshuffle'",
            "loss.pixel=l3": "loss.pixel: found 'l3', allowed: charbonnier, l1, l2",
            "data.kernel=cubic": "data.kernel: found 'cubic', did you mean 'bicubic'",
            "loss.perceptual.backbone=vgg11": "loss.perceptual.backbone: found 'vgg11', did you mean 'vgg19'",
            "callbacks.pictures=3": "callbacks.pictures: found 3",
            "+logger.mine._target_=sr_lightning.loggers.weights_and_biases.Nothing": "logger.mine._target_",
            "scale=big": "scale: found 'big'",
            "data.patch_size=0": "data.patch_size: found 0, allowed: 1 and more",
            "data.num_workers=-1": "data.num_workers: found -1",
            "trainer.max_steps=0": "trainer.max_steps: found 0",
            "loss.beta=nan": "loss.beta: found nan, allowed: a finite number",
        },
        {
            "data.batch_size=1.5": "data.batch_size: found 1.5, allowed: a whole number",
            "scale=[2,2]": "scale: found [2, 2]",
            "seed=-1": "seed: found -1",
            "+data.test.Mine={hr: 3}": "data.test.Mine: found {'hr': 3}, allowed: a folder, or {hr: folder",
        },
        # files and folders, which are looked for when all else is right
        {
            "model.weights=nowhere.ckpt": "model.weights: nowhere.ckpt is not there",
            "data.train_dir=/nowhere": "data.train_dir: /nowhere is not there",
            "+data.test.Mine=/nowhere": "data.test.Mine.hr: /nowhere is not there",
        },
    ],
    ids=["values", "further values of the same keys", "files and folders"],
)
def test_each_bad_value_is_among_the_findings(said):
    found = findings(*said)
    assert [text for text in said.values() if text not in found] == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+adversarial.wieght=1", "adversarial.wieght: no such key; did you mean 'weight'?"),
        (
            "+adversarial.discriminator.n_feat=3",
            "adversarial.discriminator.n_feat: no such key; did you mean 'n_feats'?",
        ),
        (
            "adversarial.discriminator.spectral_norm=1",
            "adversarial.discriminator.spectral_norm: found 1, allowed: true",
        ),
        ("adversarial.discriminator=vgg", "adversarial.discriminator: found 'vgg', allowed: a section with a _target_"),
        ("adversarial.loss=hinge", "adversarial.loss: found 'hinge', allowed: a section with a _target_"),
        ("adversarial.loss._target_=sr_lightning.losses.adversarial.Hinge", "adversarial.loss._target_"),
        ("adversarial.optimizer=adam", "adversarial.optimizer: found 'adam', allowed: a section with a _target_"),
        ("+adversarial.optimizer.momentum=1", "adversarial.optimizer.momentum: no such key"),
        ("adversarial.optimizer.lr=0", "adversarial.optimizer.lr: found 0.0, allowed: above 0"),
        ("adversarial.weight=-1", "adversarial.weight: found -1.0, allowed: 0 and more"),
        ("adversarial.weight=nan", "adversarial.weight: found nan, allowed: a finite number"),
        ("~adversarial.loss", "adversarial.loss: must be given"),
        ("trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches: found 2, but adversarial training"),
    ],
)
def test_bad_input_to_the_adversary(override, said):
    assert said in findings("adversarial=srgan", override)


def test_an_adversary_that_is_no_section():
    (job,) = jobs()
    job.config.adversarial = 3
    with pytest.raises(UserError, match=r"adversarial: found 3, allowed: a section as in adversarial=srgan, or null"):
        check_train(job.config)


def test_a_weight_of_0_is_no_adversary():
    assert checked().adversarial is None
    assert checked("adversarial=unet").adversarial["weight"] == 0.1
    assert checked("adversarial=unet", "adversarial.weight=0", "trainer.accumulate_grad_batches=2").adversarial is None


def test_all_findings_come_in_one_message():
    said = findings("loss.bta=1", "scal=2", "model=edsr_tiney", "scale=4")
    for part in ("loss.bta", "scal:", "edsr_tiney"):
        assert part in said
    said = findings("data.batch_size=x", "seed=-1", "loss.alpha=yes", "+model.foo=1")
    for part in ("data.batch_size", "seed", "loss.alpha", "model.foo"):
        assert part in said


def test_every_job_of_a_sweep_is_composed():
    composed = jobs("scale=2,3", "loss.beta=0,0.01", is_sweep=True)
    assert [(j.config.scale, j.config.loss.beta) for j in composed] == [(2, 0), (2, 0.01), (3, 0), (3, 0.01)]
    assert composed[1].overrides == ["scale=2", "loss.beta=0.01"]


def test_a_sweep_preset_needs_no_flag():
    composed = jobs("sweep=loss_weights")
    assert len(composed) > 2
    assert all(job.is_sweep for job in composed)
    assert [job.config.loss.beta for job in jobs("sweep=loss_weights", "loss.beta=0,0.5")] == [0, 0.5]


def test_wrong_values_of_a_sweep_are_all_named():
    with pytest.raises(UserError) as caught:
        jobs("model=edsr_tiny,edsr_tiney", "los.beta=0,1", is_sweep=True)
    assert "edsr_tiney" in str(caught.value)
    assert "los" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["with space", "a=b", "c,d", "[x]", "{y}", "it's", 'say "x"', "größe", "back\\slash", "end\\", "a:b", "$x", "(p)"],
)
def test_file_names_may_hold_anything(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    config = checked("data=folder", f"data.train_dir={folder}", f"+data.test.Mine={folder}", "data.val_holdout=0")
    assert config.data["train_dir"] == str(folder)
    assert config.data["test"]["Mine"] == str(folder)


def test_a_list_of_folders_and_a_choice_stay_what_they_are(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    config = checked("data=folder", f"data.train_dir=[{tmp_path}/a,{tmp_path}/b]")
    assert config.data["train_dir"] == [f"{tmp_path}/a", f"{tmp_path}/b"]
    composed = jobs("data=folder", f"data.train_dir={tmp_path}/a,{tmp_path}/b", is_sweep=True)
    assert [job.config.data.train_dir for job in composed] == [f"{tmp_path}/a", f"{tmp_path}/b"]


def test_images_that_are_too_few_to_hold_some_out(tmp_path):
    """Counted by name, so that nothing heavy is imported for it; one that is left over is enough."""
    for name in ("a.png", "b.PNG", "sub/c.jpg", "d.webp", ".hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    folder = ["data=folder", f"data.train_dir={tmp_path}"]
    assert findings(*folder).startswith("data.val_holdout: found 5, but data.train_dir holds 4 images; allowed: fewer")
    assert "found 4, but data.train_dir holds 4 images" in findings(*folder, "data.val_holdout=4")
    assert "holds 2 images" in findings(*folder, "data.extensions=[png]")
    assert "holds 1 image;" in findings(*folder, "data.train_files=[a.png]")
    checked(*folder, "data.val_holdout=3")
    checked(*folder, f"+data.val.Mine={tmp_path}")
    (tmp_path / "empty").mkdir()
    checked("data=folder", f"data.train_dir={tmp_path}/empty")  # the data module says what else is in it


def test_numbers_are_brought_to_the_constructors_type():
    config = checked("trainer.max_steps=1e4", "loss.alpha=2", "scale=[4]")
    assert config.trainer["max_steps"] == 10_000
    assert type(config.trainer["max_steps"]) is int
    assert type(config.loss["alpha"]) is float
    assert (config.scale, config.data["scale"]) == ([4], 4)


def test_third_party_classes_pass_and_terms_are_checked(tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text("class Net: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = checked("model._target_=my_package.Net", "++model.anything=3", "scale=[2,3]", "~model.scale")
    assert config.model["anything"] == 3
    assert "weight" in findings("+loss.terms.mine={_target_: my_package.TV}")
    config = checked("+loss.terms.mine={weight: 0.1, _target_: my_package.TV}")
    assert config.loss["terms"]["mine"]["weight"] == 0.1


@pytest.mark.parametrize(("more", "first"), [("start=100", 101), ("every=7000", 7000)])
def test_an_average_that_never_begins(more, first):
    said = findings("callbacks=ema", f"callbacks.ema.{more}", "trainer.max_steps=50")
    assert f"first average at step {first}, but training ends at step 50" in said
    checked("callbacks=ema", "callbacks.ema.start=49", "trainer.max_steps=50")


def test_null_switches_a_callback_off():
    assert "pictures" not in checked("callbacks.pictures=null").callbacks


def test_sr_data_is_the_root_of_the_sets(tmp_path, monkeypatch):
    for name in ("train/T91", "train/BSD200", "train/BSD200-extra", "test/Set5", "test/Set14"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("SR_DATA", str(tmp_path))
    assert checked("data=t291").data["test"]["Set5"] == f"{tmp_path}/test/Set5"


def test_help_and_checks_need_neither_torch_nor_lightning():
    code = (
        "import sys; from sr_lightning.train import main\n"
        "assert main(['loss.bta=1']) == 2; assert main(['loss.alpha=-1', 'scale=7']) == 2\n"
        "assert main(['--cfg', 'job']) == 0; assert main(['--help']) == 0; assert main(['--hydra-help']) == 0\n"
        "heavy = {'torch', 'lightning', 'numpy', 'PIL', 'wandb'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "did you mean 'beta'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert "python -m sr_lightning.train scale=4 loss.beta=0.01" in done.stdout
    assert "batch_size: 16" in done.stdout
