#!/usr/bin/env python3
"""What a booking costs: the rules of the monthly meeting of September 2025, as a program.

The calendar calls `fee` for each booking and puts the sum on the member's next collection. Fifty minutes at the laser
cutter in the evening are four started quarters: 6.00 euros.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

# Euros for one started quarter of an hour.
RATES = {
    "laser cutter": Decimal("1.50"),
    "welding set": Decimal("0.80"),
    "lathe": Decimal("0.40"),
    "table saw": Decimal("0.00"),
}
KILN_PER_KWH = Decimal("0.38")
FREE_CANCELLATION = timedelta(hours=24)
LATE_CANCELLATION_FEE = Decimal("5.00")


@dataclass(frozen=True)
class Booking:
    """One member, one machine, from `start` to `end`."""

    machine: str
    start: datetime
    end: datetime
    membership: str = "full"

    def quarters(self) -> int:
        """Started quarters of an hour: sixteen minutes are two."""
        minutes = (self.end - self.start).total_seconds() / 60
        return max(1, -(-int(minutes) // 15))

    def is_quiet_hour(self) -> bool:
        """Before ten in the morning on weekdays the machines are idle, and cheaper."""
        return self.start.weekday() < 5 and self.start.hour < 10


def fee(booking: Booking) -> Decimal:
    """The price in euros. Quiet hours are half price; a family pays no more than 12 euros for one booking."""
    price = RATES[booking.machine] * booking.quarters()
    if booking.is_quiet_hour():
        price /= 2
    if booking.membership == "family":
        price = min(price, Decimal("12.00"))
    return price.quantize(Decimal("0.01"))


def kiln_fee(kilowatt_hours: float) -> Decimal:
    """The kiln is paid by its meter: a full glaze firing takes about 62 kWh."""
    return (KILN_PER_KWH * Decimal(str(kilowatt_hours))).quantize(Decimal("0.01"))


def cancellation_fee(booking: Booking, cancelled: datetime) -> Decimal:
    """Free up to a day before, five euros after that, the whole price when nobody came."""
    if cancelled >= booking.start:
        return fee(booking)
    if booking.start - cancelled >= FREE_CANCELLATION:
        return Decimal("0.00")
    return LATE_CANCELLATION_FEE
