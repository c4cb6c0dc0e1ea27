"""The shipped configs as they are typed: each is composed and checked, and its training takes a step."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from sr_lightning.builders.network import build_network
from sr_lightning.builders.training import build_module
from sr_lightning.config.compose import compose_jobs
from sr_lightning.config.conf_files import conf_dir, register_resolvers
from sr_lightning.config.train import check_train
from sr_lightning.inference.predict import apply_network
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")

register_resolvers()
GROUPS = (
    "model",
    "loss",
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "degradation",
    "adversarial",
    "experiment",
    "debug",
    "logger",
)
PATCH = 12
ONE_STEP = ["trainer.max_steps=1", "trainer.val_check_interval=1", "data.batch_size=2", f"data.patch_size={PATCH}"]
# As they are these need minutes, or seconds.
SMALLER = {
    "model=edsr": ["model.n_resblocks=1", "model.n_feats=8"],
    "model=edsr_baseline": ["model.n_resblocks=1", "model.n_feats=8"],
    "model=mdsr": ["model.n_resblocks=1", "model.n_feats=8"],
    "model=srresnet": ["model.n_resblocks=1", "model.n_feats=8"],
    "adversarial=srgan": ["adversarial.discriminator.n_feats=8"],
    "adversarial=esrgan": ["adversarial.discriminator.n_feats=8"],
    "adversarial=unet": ["adversarial.discriminator.n_feats=8"],
    "experiment=papers/mdsr_baseline_x2_x3_x4": ["model.n_resblocks=1", "model.n_feats=8"],
    "experiment=papers/srgan_x4": ["model.n_resblocks=1", "model.n_feats=8", "adversarial.discriminator.n_feats=8"],
    "experiment=papers/esrgan_x4": ["model.n_blocks=1", "model.n_feats=8", "adversarial.discriminator.n_feats=8"],
    "model=rdn": ["model.n_blocks=2"],
    "model=rcan": ["model.n_groups=1", "model.n_blocks=2"],
    "model=rrdb": ["model.n_blocks=1"],
    "model=rfdn": ["data.patch_size=16"],
    "model=swinir_light": ["model.n_blocks=1", "model.n_layers=2", "model.n_feats=12"],
    "model=atd": ["model.depths=[1]", "model.num_heads=[4]"],
    "model=craft": ["model.depths=[1]", "model.num_heads=[6]"],
    "model=dat": ["model.depth=[2]"],
    "model=drct": ["model.depths=[1]", "model.num_heads=[6]"],
    "model=hat": ["model.depths=[1]", "model.num_heads=[6]"],
    "model=rgt": ["model.depth=[2]", "model.num_heads=[6]"],
    "model=swin2sr": ["model.depths=[1]", "model.num_heads=[6]"],
}
# Runs of other tests use them: the defaults of train.yaml, what the fixture `tiny` types, the parts of logger=all, and
# the two processes of cli/test_launcher.py.
ELSEWHERE = {
    "loss=composite",
    "optimizer=adam",
    "scheduler=one_cycle",
    "callbacks=default",
    "trainer=cpu",
    "trainer=ddp_sim",
    "logger=csv",
    "logger=tensorboard",
    "logger=wandb",
}
# Of each kind one is trained: of networks one for several scales, with attention, with a smallest input, without
# weights; of the experiments those with several scales or a loss of their own.
TRAINED = re.compile(
    r"model=(mdsr|swinir_light|rfdn|bicubic)"
    r"|experiment=(papers/mdsr_.*|pretrained/(edsr_tiny_y_t291_x4|edsr_small_y_t291_(gan|perceptual)_x4))"
    r"|optimizer=soap|scheduler=cosine|degradation=second_order|adversarial=srgan|(loss|trainer|callbacks|debug)=.*"
)


def shipped(group):
    """Its choices; an experiment in no folder is another's former name, which test_experiments compares."""
    root = Path(conf_dir(), group)
    depth = 2 if group == "experiment" else 1
    names = (path.relative_to(root).with_suffix("") for path in root.rglob("*.yaml"))
    return sorted(str(name) for name in names if len(name.parts) == depth)


def is_trained(choice):
    return TRAINED.fullmatch(choice) is not None


CHOICES = [choice for group in GROUPS for name in shipped(group) if (choice := f"{group}={name}") not in ELSEWHERE]
ONLY_BUILT = [choice for choice in CHOICES if not is_trained(choice)]


@pytest.fixture
def _classic_sets(folder, monkeypatch):
    """Small images under the names of the data sets."""
    root = folder.parent / "sr_data"
    for name in ("train/T91", "train/BSD200", "test/Set5", "test/Set14"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(folder)
    extra = root / "train/BSD200-extra"
    extra.mkdir()
    for name in yaml.safe_load(Path(conf_dir(), "data/t291.yaml").read_text())["val"]["BSDval"]["files"]:
        Image.open(folder / "img_4.png").save(extra / name)
    monkeypatch.setenv("SR_DATA", str(root))


def typed(choice, folder):
    """A short training with a choice."""
    data = ["data=folder", f"data.train_dir={folder}", "data.val_holdout=1"]
    return [
        *ONE_STEP,
        choice,
        *([] if choice.startswith("experiment") else data),
        *([] if choice.startswith("callbacks") else ["callbacks.pictures=null"]),
        *([] if choice.startswith("logger") else ["logger=csv"]),
        *SMALLER.get(choice, []),
    ]


@pytest.mark.parametrize(
    "choice",
    [choice if is_trained(choice) else pytest.param(choice, marks=pytest.mark.slow) for choice in CHOICES],
)
@pytest.mark.usefixtures("_classic_sets")
def test_every_shipped_yaml_runs_one_step(choice, folder):
    if choice in ("trainer=gpu", "trainer=ddp") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    if choice == "model=bicubic":
        assert main(typed(choice, folder)) == 2  # there is nothing to train
        return
    assert main(typed(choice, folder)) == 0
    (run,) = Path("runs/train").iterdir()
    assert (run / "results.json").exists()


@pytest.mark.parametrize("choice", ONLY_BUILT)
@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
@pytest.mark.filterwarnings("ignore:'saved_variables' is deprecated:DeprecationWarning")  # of OmniSR
@pytest.mark.usefixtures("_classic_sets")
def test_what_is_trained_by_slow_tests_only_is_checked_and_every_weight_has_a_gradient(choice, folder):
    (job,) = compose_jobs("train", typed(choice, folder), config_dir=None, config_name=None, is_sweep=False)
    if job.config.model._target_.startswith("sr_lightning.models.others."):
        pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    config = check_train(job.config)
    module = build_module(config, build_network(config.model))
    (scale,) = config.scale
    side = config.data["patch_size"]
    sr = apply_network(module.net, torch.rand(2, module.channels, side, side), scale)
    assert sr.shape == (2, module.channels, side * scale, side * scale)
    module.loss(sr, torch.rand_like(sr))["total"].backward()
    optimizer = module.build_optimizers()[0]
    schedule = module.scheduler(optimizer, config.trainer["max_steps"])
    optimizer.step()
    schedule.step()
    untouched = [name for name, weight in module.net.named_parameters() if weight.requires_grad and weight.grad is None]
    assert untouched == []
