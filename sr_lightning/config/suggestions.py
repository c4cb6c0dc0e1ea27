"""Suggestions for unknown keys: corrected typos, keys of other sections, equivalents of other tools' terms."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sr_lightning.text import nearest

_IN_STEPS = "training is counted in optimizer steps"
_IN_FOLDER = "a run's folder or a checkpoint"
# Terms of other tools -> equivalent keys, each with a remark; a command has one of them.
_WORDS: dict[str, dict[str, str]] = {
    "lr learning_rate base_lr init_lr": {"optimizer.lr": ""},
    "wd": {"optimizer.weight_decay": ""},
    "optim": {"optimizer": "optimizer=… chooses one"},
    "lr_scheduler schedule sched": {"scheduler": "scheduler=… chooses one"},
    "warmup warmup_iter warmup_epochs": {"scheduler.warmup_steps": _IN_STEPS, "scheduler": "scheduler=cosine has one"},
    "epoch epochs max_epochs num_epochs n_epochs": {"trainer.max_steps": _IN_STEPS},
    "steps iters iterations niter max_iter max_iters total_iter num_steps total_steps": {"trainer.max_steps": ""},
    "batch bs train_batch_size batch_size_per_gpu": {"data.batch_size": "over all devices"},
    "gpus gpu num_gpus n_gpus gpu_ids ngpu": {
        "trainer.devices": "with trainer=gpu",
        "devices": "with accelerator=gpu",
        "device": "cuda, or cuda:1 for the second",
    },
    "device cuda cpu": {
        "trainer.accelerator": "auto, cpu or gpu",
        "accelerator": "auto, cpu or gpu",
        "device": "auto, cpu or cuda",
    },
    "nodes nnodes": {"trainer.num_nodes": ""},
    "fp16 half amp use_amp bf16 mixed_precision": {"trainer.precision": "16-mixed or bf16-mixed", "precision": ""},
    "clip grad_clip clip_grad max_grad_norm": {"trainer.gradient_clip_val": ""},
    "accumulate gradient_accumulation_steps accum_iter accumulation_steps": {"trainer.accumulate_grad_batches": ""},
    "val_freq val_interval eval_interval eval_steps eval_freq check_val_every_n_epoch": {
        "trainer.val_check_interval": _IN_STEPS
    },
    "print_freq log_interval logging_steps log_freq": {"trainer.log_every_n_steps": ""},
    "workers n_workers threads n_threads num_worker num_worker_per_gpu": {"data.num_workers": ""},
    "data_dir dataset datadir dir_data dataroot data_root data_path dataroot_gt": {
        "data.train_dir": "with data=folder; data=… chooses among those that are configured",
        "data.test": "+data.test.<Name>=<folder>",
        "input": "",
    },
    "dataroot_lq lr_dir": {"data.train_lr_dir": "with data=paired"},
    "patch crop_size lr_patch_size gt_size lq_size image_size": {"data.patch_size": "the side of the LR patch"},
    "upscale upscale_factor scale_factor factor sr_factor scales": {"scale": ""},
    "arch network net model_name architecture": {"model": "model=… chooses one"},
    "weights pretrained pretrain pre_train load load_from pretrain_network_g init_from": {
        "model.weights": "a file of weights, or a name of those in the package",
        "checkpoint": _IN_FOLDER,
    },
    "resume resume_from resume_from_checkpoint resume_state continue ckpt ckpt_path checkpoint": {
        "ckpt_path": f"{_IN_FOLDER}, or last",
        "checkpoint": _IN_FOLDER,
    },
    "random_seed manual_seed": {"seed": ""},
    "name exp_name experiment_name run_name": {"logger.wandb.name": ""},
    "wandb use_wandb wandb_mode": {"logger.wandb.mode": "online, offline or disabled", "logger": "logger=wandb"},
    "tensorboard use_tb tb": {"logger": "logger=tensorboard"},
    "ema use_ema ema_decay": {"callbacks": "callbacks=ema"},
    "metric": {"metrics": ""},
    "dataset_names benchmark benchmarks": {"sets": ""},
    "output_dir out_dir outdir save_dir log_dir logdir output save_path results_dir": {
        "paths.runs": "or hydra.run.dir=… for this run alone",
        "output": "",
    },
}
_BEST_KNOWN = ("lr", "epochs", "gpus", "fp16", "data_dir", "weights", "output_dir")
_MEANT = {word: keys for words, keys in _WORDS.items() for word in words.split()}


def suggest_key(key: str, config: DictConfig | Mapping[str, Any]) -> str:
    """Returns what an unknown key may have been meant to be, as the end of a sentence.

    Args:
        key: Dotted key as typed.
        config: The composed config.
    """
    tree = {path: name for path, name in dotted_keys(config) if path != key and not path.startswith(f"{key}.")}
    parent, _, leaf = key.rpartition(".")
    if parent and parent not in tree and (found := _in_similar_section(parent, leaf, tree)):
        return found
    siblings = _children(parent, tree)
    if meant := _find(leaf, tree):
        remark = _MEANT.get(_normalised(leaf), {}).get(meant)
        shown = meant.removeprefix(f"{parent}.") if parent else meant
        return f"did you mean {shown!r}?" + (f" ({remark})" if remark else "")
    if difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.6):
        return nearest(leaf, siblings)
    names = set(tree.values())
    if close := difflib.get_close_matches(_normalised(leaf), names, n=1, cutoff=0.75):
        paths = sorted((path for path, name in tree.items() if name == close[0]), key=_by_depth)
        return f"did you mean {' or '.join(map(repr, paths[:3]))}?"
    while parent and not siblings:  # what the innermost section that exists holds in place of the first that does not
        parent, _, leaf = parent.rpartition(".")
        siblings = _children(parent, tree)
    return nearest(leaf, siblings)


def _in_similar_section(section: str, leaf: str, tree: Mapping[str, str]) -> str | None:
    """Suggests a key of a section whose name is similar; None if there is none."""
    similar = difflib.get_close_matches(section, tree, n=3, cutoff=0.75)
    if there := [f"{name}.{leaf}" for name in similar if f"{name}.{leaf}" in tree]:
        return f"did you mean {there[0]!r}?"
    for name in similar:
        if keys := _children(name, tree):
            close = difflib.get_close_matches(leaf, keys, n=1, cutoff=0.6)
            meant = f"{f'{name}.{close[0]}'!r}?" if close else f"the section {name!r}?"
            return f"did you mean {meant} allowed: {', '.join(sorted(keys))}"
    return None


def _children(section: str, tree: Mapping[str, str]) -> list[str]:
    """Returns the names of a section's keys, except those that build it, such as `_target_`."""
    names = [name for path, name in tree.items() if path == (f"{section}.{name}" if section else name)]
    return [name for name in names if not name.startswith("_")]


def other_words(key: str) -> list[str]:
    """Returns other tools' terms for a key."""
    return [word for word, keys in _MEANT.items() if key in keys and word != key.rpartition(".")[2]]


def known_words(config: DictConfig | Mapping[str, Any]) -> list[str]:
    """Returns the best known of other tools' terms for which a command has a key.

    Args:
        config: The composed config.
    """
    tree = dict(dotted_keys(config))
    return [word for word in _BEST_KNOWN if word not in tree and _find(word, tree)][:3]


def find_key(word: str, config: DictConfig | Mapping[str, Any]) -> str | None:
    """Returns the dotted key for another tool's term, or for a name without its section; None if unclear.

    Args:
        word: `lr`, `epochs`, `batch_size`, …
        config: The composed config.
    """
    return _find(word, dict(dotted_keys(config)))


def _find(word: str, tree: Mapping[str, str]) -> str | None:
    word = _normalised(word)
    meant = [key for key in _MEANT.get(word, {}) if key in tree]
    meant += sorted((path for path, name in tree.items() if name == word), key=_by_depth)
    return meant[0] if meant else None


def suggest_argument(name: str, accepted: Collection[str]) -> str:
    """Like `suggest_key`, for an argument of a constructor."""
    meant = [key.rpartition(".")[2] for key in _MEANT.get(_normalised(name), {})]
    close = next((key for key in meant if key in accepted), None)
    return f"did you mean {close!r}? allowed: {', '.join(sorted(accepted))}" if close else nearest(name, accepted)


def dotted_keys(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the dotted path and the name of every key in a config."""
    node = OmegaConf.to_container(node) if isinstance(node, DictConfig) else node
    for name, value in node.items() if isinstance(node, Mapping) else ():
        yield f"{prefix}{name}", str(name)
        yield from dotted_keys(value, f"{prefix}{name}.")


def _normalised(word: str) -> str:
    return re.sub(r"[-\s]", "_", word.lower())


def _by_depth(path: str) -> tuple[int, str]:
    return path.count("."), path
