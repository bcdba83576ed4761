"""What the system was asked to start: does it run, and is what it starts still there."""

from bridge.doctor.check import Check, in_thread
from bridge.doctor.recorded import Recorded
from bridge.services.command import everywhere
from bridge.services.installed import Installed, installed
from bridge.settings import Settings


async def managed(_settings: Settings, _recorded: Recorded) -> list[Check]:
    found = await in_thread(lambda: list(installed(everywhere())))
    if found:
        return [judged(one) for one in found]
    remedy = "have the system start it: `tandem service install queue|worker|daemon`"
    return [Check("service", "off", "no service of Tandem is installed", remedy)]


def judged(one: Installed) -> Check:
    what = f"{one.name} ({one.file})"
    if one.problem is None:
        says = f", {one.says}" if one.says else ""
        return Check("service", "off" if one.running is None else "ok", f"{what}: {one.state}{says}")
    if one.running is False:
        where = "--user " if one.scope == "user" else ""
        unit = one.file.rpartition("/")[2]
        remedy = f"see why: `systemctl {where}status {unit}`, `journalctl {where}-u {unit}`"
        if unit.endswith(".plist"):
            remedy = "see why: `tandem service status`, and its log in Library/Logs/tandem"
        return Check("service", "failed", f"{what}: {one.problem}", remedy)
    remedy = "`tandem service install` with the same words writes it anew, for the Tandem that runs it"
    return Check("service", "failed", f"{what}: {one.problem}", remedy)
