"""What of the network trains: a Method is a value, decoded from a tagged union.

The decision: `method: {kind: lora, rank: 16}`. A setting of one method cannot be written under another.
"""

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.settings import Settings


class Full(Settings):
    """Every parameter trains."""

    kind: Literal["full"] = "full"


class Frozen(Settings):
    """Embeddings and the lowest layers stay as they are; the rest trains."""

    kind: Literal["frozen"] = "frozen"
    layers: int | float = Field(default=0.75, ge=0)
    """How many of the lowest layers stay frozen: a number, or a share below 1."""
    embeddings: bool = True
    """Whether the embeddings (and an output matrix tied to them) stay frozen."""
    names: tuple[str, ...] = ()
    """Further parameters to freeze, as patterns of their names (`model.layers.*.mlp.*`)."""
    store: bool = True
    """Compute what the frozen layers make of each example once, where it fits in a quarter of the memory."""


class Lora(Settings):
    """Low-rank adapters beside frozen matrices (Hu et al., 2021, https://arxiv.org/abs/2106.09685)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1)
    """The rank of the adapter: how much it can learn, and how large it is."""
    alpha: float | None = Field(default=None, gt=0)
    """The adapter's scale is alpha / rank (alpha / sqrt(rank) with rslora). Default: 2 * rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input; above 0 it turns sharing of beginnings off."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which linear layers get an adapter: all but the output matrix, or those whose names end so."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) (Kalajdzievski, 2023, https://arxiv.org/abs/2312.03732)."""
    quantize: Literal["none", "nf4"] = "none"
    """Keep the matrices that get an adapter in four bits (QLoRA; Dettmers et al., 2023). Needs bitsandbytes."""


Method = Annotated[Full | Frozen | Lora, Field(discriminator="kind")]
