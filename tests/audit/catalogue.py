"""The findings in ``docs/audit.md``, from the rules: ``python -m tests.audit.catalogue`` writes them anew."""

from __future__ import annotations

from pathlib import Path

from rotator.domain.audit.checks import RULES

DOC = Path(__file__).parents[2] / "docs" / "audit.md"
BEGIN, END = "<!-- findings: from the rules, by tests.audit.catalogue -->\n", "<!-- end of findings -->\n"
FAMILIES = {
    "K": "Keys",
    "D": "Destinations",
    "P": "Policies that can't hold",
    "H": "The rotator's own hygiene",
    "J": "The journal",
    "A": "What the audit could not look at",
}


def catalogue() -> str:
    """All findings, family by family."""
    parts = []
    for letter, family in FAMILIES.items():
        parts.append(f"### {family}\n")
        for rule in RULES:
            if rule.id[4] == letter:
                references = "; ".join(map(str, rule.references))
                parts.append(f"#### {rule.id} {rule.title}\n")
                parts.append(f"Severity: {rule.severity}. {rule.why}\n")
                parts.append(f"**What to do:** {rule.todo}\n\nReferences: {references}.\n")
    return "\n".join(parts) + "\n"


def written(text: str) -> str:
    """The page with the catalogue of now."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{catalogue()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    DOC.write_text(written(DOC.read_text()))
