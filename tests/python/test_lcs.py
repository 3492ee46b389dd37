"""LCS over keys of any lane."""

import pytest


def test_longest_common_subsequence(client):
    """The keys live on two lanes where there are as many."""
    assert client.mset({"stock_a": "ohmytext", "iot_b": "mynewtext"})
    assert client.lcs("stock_a", "iot_b") == "mytext"
    assert client.lcs("stock_a", "iot_b", len=True) == 6
    assert client.lcs("stock_a", "missing") == ""
    assert client.lcs("missing", "iot_b", len=True) == 0
    with pytest.raises(Exception, match="If you want both the length and indexes, please just use IDX."):
        client.lcs("stock_a", "iot_b", len=True, idx=True)
    with pytest.raises(Exception, match="syntax error"):
        client.execute_command("LCS", "stock_a", "iot_b", "FOO")


def test_positions_of_the_subsequence(wire, wire3):
    wire("MSET stock_a ohmytext iot_b mynewtext")
    both = "*2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1"
    assert wire("LCS stock_a iot_b IDX") == f'*4 "matches" *2 {both} "len" :6'
    assert wire3("LCS stock_a iot_b IDX") == f'%2 "matches" *2 {both} "len" :6'
    long = "*3 *2 :4 :7 *2 :5 :8 :4"
    assert wire("LCS stock_a iot_b IDX MINMATCHLEN 4 WITHMATCHLEN") == f'*4 "matches" *1 {long} "len" :6'
    wire("MULTI")
    wire("SET iot_b text")
    wire("LCS stock_a iot_b")
    assert wire("EXEC") == '*2 +OK "text"'


@pytest.mark.ticklane_only
def test_a_series_has_no_subsequence(wire):
    wire("TS.CREATE iot_s")
    assert wire("LCS a iot_s FOO") == "-ERR The specified keys must contain string values"
