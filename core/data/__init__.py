"""Images on disk, episodes, augmentation, loaders."""
