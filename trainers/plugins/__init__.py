"""Plugins: files and folders of a user's own that add methods, weightings, networks and datasets to a study.

`content` reads what a plugin is and copies it, `loading` imports it. Nothing here runs before `load` is called, so that
whoever only reads a study's tables runs no code of its author.
"""
