"""Where a service's files lie, on which system, for the user or for the machine. Pure: nothing is looked at.

               systemd                          launchd
user     unit  ~/.config/systemd/user           ~/Library/LaunchAgents
         else  ~/.config/tandem/NAME.env        ~/Library/Application Support/tandem/services/NAME/.env
machine  unit  /etc/systemd/system              /Library/LaunchDaemons
         else  /etc/tandem/NAME.env             /Library/Application Support/tandem/services/NAME/.env
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.services.launchd import label


@dataclass(frozen=True, slots=True)
class Places:
    """`units`: the folder of units or property lists. `settings`: that of the files with the settings."""

    units: Path
    settings: Path
    logs: Path | None  # None: the journal
    is_launchd: bool
    is_system: bool

    def unit(self, name: str) -> Path:
        return self.units / (f"{label(name)}.plist" if self.is_launchd else f"tandem-{name}.service")

    def settings_of(self, name: str) -> Path:
        return self.settings / name / ".env" if self.is_launchd else self.settings / f"{name}.env"

    def name_of(self, unit: Path) -> str | None:
        """None where the file is none of these units."""
        before, after = ("tandem.", ".plist") if self.is_launchd else ("tandem-", ".service")
        if not (unit.name.startswith(before) and unit.name.endswith(after)):
            return None
        return unit.name.removeprefix(before).removesuffix(after)


def places(system: bool, platform: str, environment: Mapping[str, str], home: Path) -> Places:
    """`platform` as sys.platform."""
    if platform == "darwin":
        library = Path("/Library") if system else home / "Library"
        units = library / ("LaunchDaemons" if system else "LaunchAgents")
        settings = library / "Application Support" / "tandem" / "services"
        return Places(units, settings, library / "Logs" / "tandem", True, system)
    if system:
        return Places(Path("/etc/systemd/system"), Path("/etc/tandem"), None, False, True)
    named = Path(environment.get("XDG_CONFIG_HOME", ""))
    config = named if named.is_absolute() else home / ".config"
    return Places(config / "systemd" / "user", config / "tandem", None, False, False)
