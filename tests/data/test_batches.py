"""Batches of the DataModule: the same ones with any workers, ranks and devices, and when a run goes on."""

import itertools

import pytest
import torch

from helpers.data_modules import batches, module, same
from sr_lightning.data.batch import NoImage
from sr_lightning.data.sampling.sampler import BatchSampler
from sr_lightning.errors import UserError


@pytest.mark.fault("T17", "the same batches")
def test_two_workers_give_what_none_gives(folder, tmp_path):
    none = batches(module(folder, tmp_path, scale=[2, 4]), 5)
    two = batches(module(folder, tmp_path, scale=[2, 4], num_workers=2), 5)
    assert all(same(a, b) for a, b in zip(none, two, strict=True))
    assert {batch.scale for batch in none} == {2, 4}


@pytest.mark.parametrize("of", ["train", "val"])
def test_only_the_images_of_a_batch_are_moved(folder, tmp_path, of):
    data = module(folder, tmp_path)
    batch = next(iter(data.train_dataloader() if of == "train" else data.val_dataloader()))
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert {x.device.type for x in (moved.hr, moved.lr) if x is not None} == {"meta"}
    assert (moved.lr is None) == (batch.lr is None) == (of == "val")  # training's LR images are made once
    assert moved[2:] == batch[2:]


@pytest.mark.fault("P5", "the samples of one device, in its order")
def test_ranks_share_the_batch_of_one_device(folder, tmp_path):
    whole = batches(module(folder, tmp_path, scale=[2, 3]), 4)
    ranks = [batches(module(folder, tmp_path, scale=[2, 3], world_size=2, rank=rank), 4) for rank in (0, 1)]
    for one, first, second in zip(whole, *ranks, strict=True):
        assert one.scale == first.scale == second.scale
        assert torch.equal(one.lr, torch.cat([first.lr, second.lr]))


@pytest.mark.fault("T16", "the samples of one batch")
def test_accumulated_batches_add_up_to_the_batch_size(folder, tmp_path):
    whole = batches(module(folder, tmp_path, scale=[2, 3]), 4)
    parts = batches(module(folder, tmp_path, scale=[2, 3], accumulate=2), 8)
    for i, one in enumerate(whole):
        assert one.scale == parts[2 * i].scale == parts[2 * i + 1].scale
        assert torch.equal(one.hr, torch.cat([parts[2 * i].hr, parts[2 * i + 1].hr]))


@pytest.mark.fault("T2", "no sample twice, none left out")
def test_a_resumed_module_continues_at_the_next_sample(folder, tmp_path):
    straight = batches(module(folder, tmp_path), 7)
    first = module(folder, tmp_path)
    batches(first, 3)
    state = first.state_dict()
    assert state["k"] == 12
    second = module(folder, tmp_path)
    second.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(straight[3:], batches(second, 4), strict=True))


def test_a_batch_size_that_cannot_be_shared_is_refused(folder, tmp_path):
    data = module(folder, tmp_path, batch_size=5, world_size=2)
    with pytest.raises(UserError, match=r"data\.batch_size: found 5, allowed: a multiple of 2"):
        batches(data, 1)


@pytest.mark.fault("P3", "each image once")
def test_ranks_evaluate_each_image_once(folder, tmp_path):
    seen = []
    for rank in range(4):
        data = module(folder, tmp_path, val={"Mine": str(folder)}, world_size=4, rank=rank, batch_size=8)
        seen += [image.name for image in data.val_dataloader() if not isinstance(image, NoImage)]
    assert sorted(seen) == [f"img_{i}.png" for i in range(6)]


@pytest.mark.parametrize(("devices", "nodes", "accumulate"), [(8, 4, 1), (8, 2, 2), (1, 32, 1)])
def test_the_global_batch_means_the_same_on_any_number_of_devices(devices, nodes, accumulate):
    """The ranks of all nodes together draw the samples of one device, step by step."""
    arguments = {"start_k": 64, "batch_size": 64, "seed": 5, "scales": [2, 3, 4]}
    world = devices * nodes
    one = BatchSampler(**arguments, accumulate=1, rank=0, world_size=1)
    ranks = [BatchSampler(**arguments, accumulate=accumulate, rank=rank, world_size=world) for rank in range(world)]
    streams = [iter(sampler) for sampler in ranks]
    for request in itertools.islice(one, 5):
        parts = [next(stream) for _ in range(accumulate) for stream in streams]
        assert [k for part in parts for k in part.samples] == list(request.samples)
        assert {part.scale for part in parts} == {request.scale}
        assert parts[-1].next_k == request.next_k
    with pytest.raises(UserError, match=rf"data\.batch_size: found 16, allowed: a multiple of {accumulate * world} "):
        BatchSampler(start_k=0, batch_size=16, accumulate=accumulate, rank=0, world_size=world, seed=5, scales=[2])


@pytest.mark.gpu
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "settings", [{"scale": 2}, {"scale": 3}, {"scale": 4}, {"scale": 8}, {"kernel": "bicubic_double"}], ids=str
)
def test_batches_made_on_a_gpu_are_the_cpus_bit_for_bit(folder, tmp_path, device, settings, num_workers):
    """Copied from pinned memory while the host goes on; sums of whole numbers do not depend on the device."""
    data = module(folder, tmp_path, num_workers=num_workers, store_limit_gb=0, **settings)  # LR is made of windows
    for windows in itertools.islice(data.train_dataloader(), 4):
        assert windows.lr is None
        assert windows.hr.is_pinned() == (device.type == "cuda")
        expected = data.on_after_batch_transfer(windows, 0)
        moved = data.on_after_batch_transfer(data.transfer_batch_to_device(windows, device, 0), 0)
        assert moved.lr.device.type == moved.hr.device.type == device.type
        assert same(expected, moved._replace(lr=moved.lr.cpu(), hr=moved.hr.cpu()))


@pytest.mark.gpu
def test_images_made_on_a_gpu_are_the_cpus_bit_for_bit(folder, tmp_path, device):
    data = module(folder, tmp_path, scale=[2, 3, 4])
    for image in data.val_dataloader():
        expected = data.on_after_batch_transfer(image, 0)
        moved = data.on_after_batch_transfer(data.transfer_batch_to_device(image, device, 0), 0)
        assert torch.equal(expected.lr, moved.lr.cpu())
