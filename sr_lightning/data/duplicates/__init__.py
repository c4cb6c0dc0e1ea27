"""Finds images again that were copied, cropped, flipped or swapped between sets."""
