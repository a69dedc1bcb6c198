"""What the demo claims, what it measured, and whether that holds."""

from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Claim:
    text: str
    figure: str
    """What was measured, with its unit."""
    held: bool | None
    """None: reported, nothing is promised."""

    @property
    def verdict(self) -> str:
        return {True: "held", False: "FAILED", None: "reported"}[self.held]

    def __str__(self) -> str:
        return f"{self.verdict:>8}  {self.text}: {self.figure}"


@dataclass(slots=True)
class Claims:
    claims: list[Claim] = field(default_factory=list)

    def add(self, text: str, figure: str, held: bool | None = None) -> Claim:
        claim = Claim(text, figure, held)
        self.claims.append(claim)
        return claim

    @property
    def failed(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.held is False]

    @property
    def all_held(self) -> bool:
        """False as well when nothing was claimed."""
        return any(claim.held for claim in self.claims) and not self.failed

    def table(self) -> Table:
        """The summary as a rich table."""
        table = Table(title="What was claimed, and what was measured", title_justify="left")
        table.add_column("claim")
        table.add_column("measured")
        table.add_column("")
        colours = {True: "green", False: "bold red", None: "dim"}
        for claim in self.claims:
            table.add_row(
                Text(claim.text), Text(claim.figure), Text(claim.verdict, colours[claim.held])
            )
        return table
