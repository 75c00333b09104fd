"""Images and labels of one's own: which files they are, what label files hold, and how the images are split."""
