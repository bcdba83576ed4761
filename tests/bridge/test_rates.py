from bridge.rates import Rates


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_may_come_at_once_and_then_one_as_often_as_it_fills() -> None:
    clock = Clock()
    rates = Rates(clock)
    assert [rates.take("anna", 6) for _ in range(6)] == [None] * 6
    assert rates.take("anna", 6) == 10
    clock.now = 9.5
    assert rates.take("anna", 6) == 1
    clock.now = 10
    assert rates.take("anna", 6) is None
    assert rates.take("anna", 6) == 10
    clock.now = 10_000
    assert [rates.take("anna", 6) for _ in range(7)] == [None] * 6 + [10]


def test_each_has_a_bucket_of_their_own_and_some_have_no_limit() -> None:
    rates = Rates(Clock())
    assert (rates.take("anna", 1), rates.take("anna", 1), rates.take("bob", 1)) == (None, 60, None)
    assert {rates.take("owner", None) for _ in range(1000)} == {None}
