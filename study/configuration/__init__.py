"""What a study is: its configuration, how it is read and checked, and what of it may change."""
