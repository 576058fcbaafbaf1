"""Reading weights into a model that was built empty, on one device or spread over several by Accelerate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import dispatch_model, infer_auto_device_map
from torch import Tensor, nn

from flextok.loading.errors import CheckpointError
from flextok.loading.weights_file import Header, read_tensors
from flextok.released.model import OneChunkModel
from flextok.released.vae import SpatialConv, VolumeConv

DeviceMap = str | Mapping[str, int | str | torch.device]
UNSPLIT = ["Block", "ResidualBlock", "FrameAttention"]
DISK = "disk"


def set_dtypes(model: OneChunkModel, heavy_dtype: torch.dtype) -> None:
    """Give an empty model the dtypes its weights are to have: heavy ones `heavy_dtype`, the others float32."""
    heavy = set(model.heavy_parameters())
    for name, parameter in model.named_parameters():
        dtype = heavy_dtype if name in heavy else torch.float32
        parameter.data = torch.empty_like(parameter, dtype=dtype)


def fill(model: OneChunkModel, header: Header, device: torch.device) -> None:
    """Read all weights to one device."""
    _assign(model, header, {name: device for name in model.state_dict()})
    use_channels_last(model)


def fill_and_dispatch(model: OneChunkModel, header: Header, device_map: DeviceMap, main: torch.device) -> None:
    """Read weights to the devices of a map and let Accelerate move activations (and offloaded weights) between them.

    Args:
        device_map: "auto" or "balanced" (Accelerate decides by free memory), or module names to devices, "cpu" and
            "disk" among them. What is on disk is read from the checkpoint itself whenever it is needed.
        main: where calls are run whose weights are offloaded.

    Raises:
        CheckpointError: the map leaves modules out.
    """
    if isinstance(device_map, str):
        if device_map not in ("auto", "balanced"):
            raise CheckpointError(f"device_map={device_map!r} must be 'auto', 'balanced' or a mapping")
        placed = dict(infer_auto_device_map(model, no_split_module_classes=UNSPLIT))
    else:
        placed = dict(device_map)
    homes = {name: _home(name, placed) for name in model.state_dict()}
    on_disk = {name for name, home in homes.items() if home == DISK}
    _assign(model, header, {name: torch.device(home) for name, home in homes.items() if name not in on_disk})
    use_channels_last(model)
    index = {
        name: {
            "safetensors_file": str(header.path),
            "weight_name": header.tensors[name].stored_name,
            "dtype": str(parameter.dtype).removeprefix("torch."),
        }
        for name, parameter in model.named_parameters()
        if name in on_disk
    }
    dispatch_model(model, placed, main_device=str(main), offload_index=index or None, offload_dir=header.path.parent)


def _home(name: str, device_map: Mapping[str, int | str | torch.device]) -> int | str | torch.device:
    """The entry of a map that covers a parameter: the longest prefix."""
    prefixes = [key for key in device_map if key == "" or name == key or name.startswith(f"{key}.")]
    if not prefixes:
        raise CheckpointError(f"device_map does not say where {name} goes")
    return device_map[max(prefixes, key=len)]


def _assign(model: OneChunkModel, header: Header, devices: Mapping[str, torch.device]) -> None:
    """Read tensors one after another, so that no more than one exists twice."""
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    tensors = {
        # A copy even where nothing changes: views of the file are not aligned, which costs speed and the last bit.
        name: tensor.to(devices[name], parameters[name].dtype, copy=True)
        for name, tensor in read_tensors(header, list(devices))
    }
    model.load_state_dict(tensors, assign=True, strict=False)  # names were compared before
    model.eval()


def use_channels_last(model: nn.Module) -> None:
    """Convolution weights in the memory order of the activations."""
    for module in model.modules():
        if isinstance(module, SpatialConv):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        elif isinstance(module, VolumeConv):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
