"""Images and labels decoded once: copies that all trials on a machine share, or a cache of one process."""
