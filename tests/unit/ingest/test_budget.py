"""The bound on bytes in flight."""

import asyncio

from headrace.ingest.budget import Budget


async def one_turn() -> None:
    """Let the other tasks of the loop run once."""
    turn = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turn.set_result, None)
    await turn


def test_admission_leaves_room_for_growth() -> None:
    """New requests are admitted up to three quarters; those inside may grow up to the whole, and no further."""
    budget = Budget(100, waiters_max=1)
    assert budget.try_admit(75)
    assert not budget.try_admit(1)
    assert budget.resize(75, 100)
    assert not budget.resize(100, 101)
    budget.release(100)
    assert budget.used_bytes == 0


def test_waiters_are_admitted_in_order_or_give_up() -> None:
    """A waiter gets its turn when bytes come back, one too many is refused at once, a late one leaves no trace."""

    async def scenario() -> None:
        budget = Budget(100, waiters_max=1)
        assert await budget.admit(70, 1)
        first = asyncio.create_task(budget.admit(60, 5))
        await one_turn()
        assert budget.used == 1.0
        assert not await budget.admit(1, 5)
        budget.release(70)
        assert await first
        assert not await budget.admit(60, 0.01)
        budget.release(60)
        assert budget.used_bytes == 0
        assert budget.used == 0.0
        assert not await budget.admit(1000, 5)

    asyncio.run(scenario())


def test_a_cancelled_waiter_gives_its_turn_back() -> None:
    """A client that goes away while it waits, even in the moment of its turn, holds nothing."""

    async def scenario() -> None:
        budget = Budget(100, waiters_max=5)
        assert await budget.admit(70, 1)
        waiter = asyncio.create_task(budget.admit(60, 5))
        await one_turn()
        budget.release(70)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert budget.used_bytes == 0

    asyncio.run(scenario())
