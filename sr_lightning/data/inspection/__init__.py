"""Checks folders of images and reports what is wrong with them."""
