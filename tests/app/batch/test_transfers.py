"""So many uploads and downloads at once, and no more."""

import pytest

from app.batch.transfers import Transfers, most_transfers
from app.errors import Overloaded


def test_transfer_too_many_is_refused_until_one_is_done():
    transfers = Transfers(2)
    give_back = transfers.take("ann")
    transfers.take("bob")
    with pytest.raises(Overloaded):
        transfers.take("sue")
    give_back()
    transfers.take("sue")


def test_place_is_given_back_once():
    transfers = Transfers(1)
    give_back = transfers.take("ann")
    give_back()
    give_back()
    transfers.take("ann")
    with pytest.raises(Overloaded):
        transfers.take("bob")


def test_place_that_was_given_back_is_not_taken_from_a_later_transfer():
    transfers = Transfers(2)
    give_back = transfers.take("ann")
    give_back()
    transfers.take("ann")
    give_back()
    with pytest.raises(Overloaded):
        transfers.take("ann")


def test_one_user_has_half_of_the_places():
    transfers = Transfers(5)
    for _ in range(2):
        give_back = transfers.take("ann")
    with pytest.raises(Overloaded):
        transfers.take("ann")
    transfers.take("bob")
    give_back()
    transfers.take("ann")


def test_there_are_always_two_places_for_each_of_two_users():
    assert (most_transfers(1), most_transfers(64)) == (4, 16)
