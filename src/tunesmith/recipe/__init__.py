"""The settings of a run: read, explained, written and translated. Torch-free, so that every door starts at once."""

from tunesmith.recipe.loading import Loaded, Origin, load_recipe
from tunesmith.recipe.recipe import Recipe
from tunesmith.recipe.writing import dump

__all__ = ["Loaded", "Origin", "Recipe", "dump", "load_recipe"]
