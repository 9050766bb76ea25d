"""The items of standards that findings refer to, by the numbers and titles of their own texts.

Sources: OWASP Non-Human Identities Top 10, 2025; NIST SP 800-57 Part 1 Revision 5 (May 2020); PCI DSS v4.0.1;
CIS Critical Security Controls v8.1.
"""

from __future__ import annotations

from rotator.domain.audit.finding import Reference


def _owasp(number: int, title: str) -> Reference:
    url = "https://owasp.org/www-project-non-human-identities-top-10/2025/top-10-2025"
    return Reference("OWASP", f"NHI{number}:2025", title, url)


def _nist(section: str, title: str) -> Reference:
    return Reference("NIST SP 800-57 Part 1 Rev. 5", section, title, "https://doi.org/10.6028/NIST.SP.800-57pt1r5")


def _pci(number: str, title: str) -> Reference:
    return Reference("PCI DSS 4.0.1", number, title, "https://www.pcisecuritystandards.org/document_library/")


def _cis(number: str, title: str) -> Reference:
    return Reference("CIS Controls 8.1", number, title, "https://www.cisecurity.org/controls")


OFFBOARDING = _owasp(1, "Improper Offboarding")
LEAKAGE = _owasp(2, "Secret Leakage")
AUTHENTICATION = _owasp(4, "Insecure Authentication")
OVERPRIVILEGED = _owasp(5, "Overprivileged NHI")
LONG_LIVED = _owasp(7, "Long-Lived Secrets")
ISOLATION = _owasp(8, "Environment Isolation")
REUSE = _owasp(9, "NHI Reuse")
HUMAN_USE = _owasp(10, "Human Use of NHI")

CRYPTOPERIODS = _nist("5.3", "Cryptoperiods")
COMPROMISE = _nist("5.5", "Compromise of Keys and Other Keying Material")
KEY_CHANGE = _nist("8.2.3", "Key Change Function")
KEY_REVOCATION = _nist("8.3.5", "Key Revocation Function")

LEAST_PRIVILEGE = _pci("7.2.5", "application and system accounts have the least privileges necessary")
LEAVERS = _pci("8.2.5", "access for terminated users is immediately revoked")
INACTIVE = _pci("8.2.6", "inactive user accounts are removed or disabled within 90 days")
HARD_CODED = _pci("8.6.2", "passwords of system accounts are not hard coded")
CHANGED_PERIODICALLY = _pci("8.6.3", "passwords of system accounts are changed periodically")
LOG_INTEGRITY = _pci("10.3.4", "change detection on audit logs")

ACCESS_LISTS = _cis("3.3", "Configure Data Access Control Lists")
IN_TRANSIT = _cis("3.10", "Encrypt Sensitive Data in Transit")
DORMANT = _cis("5.3", "Disable Dormant Accounts")
INVENTORY = _cis("5.5", "Establish and Maintain an Inventory of Service Accounts")
REVOKING = _cis("6.2", "Establish an Access Revoking Process")
TIME = _cis("8.4", "Standardize Time Synchronization")
