"""So many uploads and downloads at once, and no more."""

import pytest

from app.batch.transfers import Transfers, most_transfers
from app.errors import Overloaded


def test_transfer_too_many_is_refused_until_one_is_done():
    transfers = Transfers(1)
    give_back = transfers.take()
    with pytest.raises(Overloaded):
        transfers.take()
    give_back()
    transfers.take()


def test_place_is_given_back_once():
    transfers = Transfers(1)
    give_back = transfers.take()
    give_back()
    give_back()
    transfers.take()
    with pytest.raises(Overloaded):
        transfers.take()


def test_there_are_always_two_places():
    assert (most_transfers(1), most_transfers(64)) == (2, 16)
