"""The prices of one model at one provider, in the order in which they succeed each other."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bursar.prices.price import Price

_DAY_S = 86_400


class Lasting(NamedTuple):
    """A price, or that there is none, from one second since the epoch until before another."""

    since_s: float
    until_s: float
    price: Price | None


class Timeline:
    """
    Answers which price applies at an instant, by comparing it with bounds that are computed once.

    The days on which rates begin and the hours at which they change cut time into cells; each is compiled when it
    is first asked for and then kept.  Compiling twice is harmless, so threads need no lock.
    """

    __slots__ = ("_cells", "_days", "_price_in", "_seconds")

    def __init__(
        self,
        price_in: Callable[[datetime], Price | None],
        *,
        days: Iterable[date] = (),
        seconds: Iterable[int] = (),
    ) -> None:
        """
        Make a timeline.

        Args:
            price_in: Compiles the price for the cell that an instant lies in.

            days: The days, in UTC, on which any rate begins.

            seconds: The seconds of the day, in UTC, at which any rate changes.
        """
        self._price_in = price_in
        self._days = tuple(sorted({day.toordinal() for day in days}))
        self._seconds = tuple(sorted({0, *seconds}))
        self._cells: dict[tuple[int, int], Price | None] = {}

    @property
    def days(self) -> tuple[date, ...]:
        """The days, in UTC, on which rates begin."""
        return tuple(date.fromordinal(day) for day in self._days)

    @property
    def seconds(self) -> tuple[int, ...]:
        """The seconds of the day, in UTC, at which rates change; the first is zero."""
        return self._seconds

    @property
    def is_constant(self) -> bool:
        """Whether one price holds at all times."""
        return not self._days and len(self._seconds) == 1

    def at(self, instant: datetime | None) -> Price | None:
        """Return the price at *instant* (None is now, a naive one is UTC), or None where there is none."""
        return self._at(datetime.now(UTC) if instant is None else as_utc(instant))

    def lasting(self, now_s: float) -> Lasting:
        """Return the price at *now_s* seconds since the epoch, and from when and until when it holds for certain."""
        price = self._at(datetime.fromtimestamp(now_s, UTC))
        midnight_s = now_s // _DAY_S * _DAY_S
        bounds = [midnight_s + second for second in (*self._seconds, _DAY_S)]
        following = bisect_right(bounds, now_s)
        return Lasting(bounds[following - 1], bounds[following], price)

    def _at(self, when: datetime) -> Price | None:
        day = bisect_right(self._days, when.toordinal())
        second = 0
        if len(self._seconds) > 1:
            second = bisect_right(self._seconds, when.hour * 3600 + when.minute * 60 + when.second) - 1
        try:
            return self._cells[day, second]
        except KeyError:
            price = self._cells[day, second] = self._price_in(self._first_instant(day, second))
            return price

    def all(self) -> list[Price]:
        """Return every price there is, the earliest first."""
        cells = [(day, second) for day in range(len(self._days) + 1) for second in range(len(self._seconds))]
        found = (self.at(self._first_instant(day, second)) for day, second in cells)
        return [price for price in found if price is not None]

    def starts(self, instant: datetime) -> date | None:
        """Return the day on which the rates of *instant* began."""
        day = bisect_right(self._days, instant.toordinal())
        return date.fromordinal(self._days[day - 1]) if day else None

    def hours(self, instant: datetime) -> tuple[time, time] | None:
        """Return the hours in which the rates of *instant* apply, or None for the whole day."""
        if len(self._seconds) == 1:
            return None
        second = bisect_right(self._seconds, instant.hour * 3600 + instant.minute * 60 + instant.second) - 1
        end = (*self._seconds[1:], _DAY_S)[second]
        return _time(self._seconds[second]), _time(end % _DAY_S)

    def _first_instant(self, day: int, second: int) -> datetime:
        if day:
            first = date.fromordinal(self._days[day - 1])
        else:
            first = date.fromordinal(self._days[0] - 1) if self._days else date(2000, 1, 1)
        return datetime.combine(first, _time(self._seconds[second]), UTC)


def as_utc(instant: datetime) -> datetime:
    """Return *instant* in UTC; a naive one is taken to be UTC, as genai-prices takes it."""
    if instant.tzinfo is UTC:
        return instant
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _time(second: int) -> time:
    return (datetime.min + timedelta(seconds=second)).time()
