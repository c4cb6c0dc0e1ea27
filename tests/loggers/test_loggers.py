"""metrics.csv, and who may write to W&B online."""

import csv
import http.server
import os
import threading

import pytest

from sr_lightning.errors import UserError
from sr_lightning.loggers.metrics_csv import MetricsCsv
from sr_lightning.loggers.weights_and_biases import wandb_logger


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_rows_columns_and_new_names(tmp_path):
    log = MetricsCsv(tmp_path)
    log.log_metrics({"train/loss": 0.5, "epoch": 0}, step=9)
    log.log_metrics({"val/psnr_y": 30.0}, step=9)
    log.log_metrics({"train/loss": 0.4}, step=19)
    assert rows(tmp_path / "metrics.csv") == [
        {"step": "9", "train/loss": "0.5", "val/psnr_y": ""},
        {"step": "9", "train/loss": "", "val/psnr_y": "30.0"},
        {"step": "19", "train/loss": "0.4", "val/psnr_y": ""},
    ]


def test_a_second_logger_appends_and_truncate_drops_what_is_run_again(tmp_path):
    log = MetricsCsv(tmp_path)
    for step in (9, 19, 29):
        log.log_metrics({"train/loss": step / 10}, step=step)
    again = MetricsCsv(tmp_path)
    again.truncate(2)
    assert again.flush() == 2
    again.log_metrics({"train/loss": 7.0}, step=29)
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path / "metrics.csv")] == [
        ("9", "0.9"),
        ("19", "1.9"),
        ("29", "7.0"),
    ]


def test_rows_of_an_early_version_get_the_number_of_their_step(tmp_path):
    """They bear the number of the step before, and its checkpoints do not say how many rows are theirs."""
    log = MetricsCsv(tmp_path)
    for step in (0, 1, 2):
        log.log_metrics({"train/loss": float(step)}, step=step)
    log.convert(2)
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path / "metrics.csv")] == [("1", "0.0"), ("2", "1.0")]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\n", b"a,b\n1,2\n", b"step,a\n1,2,3\n", b"step,a\n1\n", b'step,a\n"x,1\n']
)
@pytest.mark.fault("T20", "the file is named, and nothing is lost")
def test_a_damaged_table_is_named_and_left_as_it_is(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.csv: is no table of logged values .*; allowed: move it elsewhere"):
        MetricsCsv(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == content


def test_online_without_a_key_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"needs an API key.*logger\.wandb\.mode=offline"):
        wandb_logger(folder=str(tmp_path), mode="online")
    assert not (tmp_path / "wandb").exists()


def test_online_without_a_network_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot reach http://127\.0\.0\.1:9.*offline"):
        wandb_logger(folder=str(tmp_path), mode="online")


def test_an_answer_and_a_key_are_enough(tmp_path, monkeypatch):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)  # answers 501
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1\nlogin user\npassword secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    logger = wandb_logger(folder=str(tmp_path), mode="online")
    thread.join(5)
    server.server_close()
    assert "secret" not in repr(vars(logger))


def test_the_same_folder_keeps_its_run_id(tmp_path):
    first = wandb_logger(folder=str(tmp_path))
    second = wandb_logger(folder=str(tmp_path))
    other = wandb_logger(folder=str(tmp_path / "other"))
    assert first._wandb_init["id"] == second._wandb_init["id"]
    assert first._wandb_init["id"] != other._wandb_init["id"]
    (id_file,) = tmp_path.glob("wandb/**/run_id*")
    id_file.write_text("")  # as a full disk leaves it
    assert wandb_logger(folder=str(tmp_path))._wandb_init["id"] == id_file.read_text()


def test_folders_that_the_user_has_chosen_for_wandb_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "mine"))
    for run in ("a", "b"):
        wandb_logger(folder=str(tmp_path / run))
        assert os.environ["WANDB_CACHE_DIR"] == str(tmp_path / "mine")
        assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / run / "wandb/local")
