"""How answers are generated: a value, torch-free, so every door can take and show it."""

from pydantic import Field

from tunesmith.settings import Settings


class GenerationSettings(Settings):
    """How the next token is chosen, when an answer ends, and how much memory the answers in progress may take."""

    max_new_tokens: int = Field(default=256, ge=1)
    """The longest answer in tokens; the end token does not count."""
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the likeliest token; 1 draws from the model's own distribution."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw only from the likeliest tokens that together have this probability (Holtzman et al., 2019)."""
    seed: int = Field(default=0, ge=0)
    """Draws depend on this, the place of the prompt and the place of the token, never on what runs beside it."""
    concurrency: int = Field(default=32, ge=1)
    """Most answers in progress at once."""
    cache_tokens: int = Field(default=16384, ge=1)
    """Most tokens whose keys and values are kept at once; a single longer conversation still runs, alone."""
