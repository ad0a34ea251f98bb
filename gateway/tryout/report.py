"""What is printed."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from attrs import frozen

from gateway.masking import without_key, without_user
from gateway.tryout.finding import Finding


@frozen
class Report:
    """Prints findings, without the secrets that an address may have repeated in them."""

    secrets: Sequence[str]

    @classmethod
    def without(cls, url: str, key: str | None) -> "Report":
        """Neither the key is printed nor the password of the URL."""
        return cls([secret for secret in (key, urlsplit(url).password) if secret])

    def tell(self, *findings: Finding) -> None:
        for finding in findings:
            self._line(finding.label, finding.text)
            if finding.advice is not None:
                self._line("what to do", finding.advice)

    def _line(self, label: str, text: str) -> None:
        for secret in self.secrets:
            text = without_key(text, secret)
        print(f"  {label:<15}{without_user(text)}", flush=True)
