"""Loggers: `metrics.csv` always, optionally Weights & Biases or TensorBoard as well."""

from sr_lightning.loggers.metrics_csv import MetricsCsv
from sr_lightning.loggers.tensorboard import tensorboard_logger
from sr_lightning.loggers.weights_and_biases import finish_wandb, wandb_logger

__all__ = ["MetricsCsv", "finish_wandb", "tensorboard_logger", "wandb_logger"]
