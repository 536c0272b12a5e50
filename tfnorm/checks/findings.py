"""All that `tfnorm.check` has found in a model: a list that prints, becomes a table and mends the model."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from tfnorm.checks.finding import Finding
from tfnorm.text import counted

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group

SHOWN_LAYERS = 3


class Findings(list[Finding]):
    """The findings of `tfnorm.check`, warnings first.

    Attributes:
        name: What the model is called.
        left_out: Sentences on what could not be checked, and why.
    """

    def __init__(
        self, findings: Sequence[Finding], *, name: str, left_out: Sequence[str] = (), subject: Any = None
    ) -> None:
        super().__init__(sorted(findings, key=lambda finding: finding.severity != "warning"))
        self.name, self.left_out, self._subject = name, tuple(left_out), subject

    @property
    def warnings(self) -> list[Finding]:
        """Those that cost accuracy."""
        return [finding for finding in self if finding.severity == "warning"]

    def to_frame(self) -> pd.DataFrame:
        """Return a row a finding: rule, severity, layers, message, remedy, evidence, paper."""
        import pandas as pd  # start-up

        return pd.DataFrame([vars(finding) for finding in self], columns=list(Finding.__dataclass_fields__))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as what JSON has."""
        found = [vars(finding) | {"layers": list(finding.layers)} for finding in self]
        return {"model": self.name, "findings": found, "left_out": list(self.left_out)}

    def fix(self, *, return_report: bool = False) -> Any:
        """Return a new model without what a conversion can mend.

        A norm that makes its input constant, or is followed by global pooling of its own mean, becomes ``gn:1``. A norm
        on outputs, or right after another one, is removed. The momentum of batch norms fits the planned steps. Batch
        norms in a frozen part are frozen. Moving statistics are estimated again from ``x``. All other weights are as
        they were; where a norm was replaced or removed, the model needs training. The rest is in the warning.

        Args:
            return_report: Whether to return what was done and what was not.

        Returns:
            The new model; with ``return_report`` the pair (model, {"mended": findings, "left": findings}).

        Raises:
            TfnormError: If no finding can be mended.
        """
        from tfnorm.checks.mend import mend  # start-up

        model, mended, left = mend(self, self._subject)
        return (model, {"mended": mended, "left": left}) if return_report else model

    def _summary(self) -> str:
        warnings, notes = len(self.warnings), len(self) - len(self.warnings)
        if not self:
            return f"{self.name}: nothing found."
        parts = [counted([n], word) for n, word in ((warnings, "warning"), (notes, "note")) if n]
        return f"{self.name}: {' and '.join(parts)}."

    def __str__(self) -> str:
        lines = [self._summary(), *(f"{finding}{_where(finding)}" for finding in self)]
        return "\n".join([*lines, *(f"not checked: {sentence}" for sentence in self.left_out)])

    __repr__ = __str__

    def __rich__(self) -> Group:
        from rich.console import Group  # start-up
        from rich.text import Text  # start-up

        lines: list[Text] = [Text(self._summary(), "bold")]
        for each in self:
            colour = "yellow" if each.severity == "warning" else "cyan"
            paper = f" (arXiv {each.paper})" if each.paper else ""
            lines.append(Text.assemble((f"{each.severity} {each.rule}", f"bold {colour}"), f"  {each.message}{paper}"))
            lines.append(Text(f"  {each.remedy}{_where(each)}", "dim"))
        return Group(*lines, *(Text(f"not checked: {sentence}", "dim") for sentence in self.left_out))

    def _repr_html_(self) -> str:
        rows = [
            f"<tr><td>{each.severity}</td><td>{each.rule}</td><td>{escape(each.message)}{escape(_where(each))}</td>"
            f"<td><code>{escape(each.remedy)}</code></td></tr>"
            for each in self
        ]
        head = "<tr><th></th><th>rule</th><th>found</th><th>remedy</th></tr>"
        table = f"<table style='text-align:left'>{head}{''.join(rows)}</table>" if rows else ""
        rest = "".join(f"<p>not checked: {escape(sentence)}</p>" for sentence in self.left_out)
        return f"<p>{escape(self._summary())}</p>{table}{rest}"


def _where(finding: Finding) -> str:
    """Return the names of the first layers, where the message does not say them."""
    names = [name for name in finding.layers if repr(name) not in finding.message]
    if not names:
        return ""
    more = f" and {len(names) - SHOWN_LAYERS} more" if len(names) > SHOWN_LAYERS else ""
    return f"  [{', '.join(names[:SHOWN_LAYERS])}{more}]"
