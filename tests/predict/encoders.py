"""A small encoder with random weights in a file, as a user would have fetched them."""

import torch

NAME = "torchvision:squeezenet1_1"
SIZE = ["BACKBONE.ARGS.size=48"]  # as small as its pooling allows


def write_weights(folder, name="squeezenet1_1"):
    from torchvision import models

    file = folder / f"{name}.pth"
    torch.manual_seed(0)
    torch.save(models.get_model(name, weights=None).state_dict(), file)
    return file
