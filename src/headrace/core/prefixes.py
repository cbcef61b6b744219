"""Longest-prefix match of IP addresses, for region and ISP by table.

`PrefixTable.parse` reads CSV text `prefix,region,isp`; `lookup` takes the text of an address. Per prefix length there is one
dict from network number to row, probed from the longest down, and a bounded cache in front, because the same players come
back every few seconds.
"""

from __future__ import annotations

import csv
import io
import ipaddress
from collections.abc import Iterable

import msgspec

from headrace.core.errors import Invalid, Place

CACHE_LIMIT = 65_536  # addresses; about 10 MB at 150 bytes an entry


class Locality(msgspec.Struct, frozen=True):
    """Where a client is: the prefix that matched, its region and ISP."""

    prefix: str
    region: str
    isp: str


UNKNOWN = Locality("", "unknown", "unknown")


class PrefixTable:
    """An immutable table of prefixes."""

    def __init__(self, rows: Iterable[Locality]) -> None:
        self._by_length: dict[int, dict[tuple[int, int], Locality]] = {}
        for row in rows:
            network = ipaddress.ip_network(row.prefix)
            numbers = self._by_length.setdefault(network.prefixlen, {})
            numbers[network.version, int(network.network_address) >> (network.max_prefixlen - network.prefixlen)] = row
        self._lengths = sorted(self._by_length, reverse=True)
        self._cache: dict[str, Locality] = {}

    @classmethod
    def parse(cls, text: str, *, file: str) -> PrefixTable:
        """Read CSV with the header `prefix,region,isp`.

        Raises:
            Invalid: a missing column or a prefix that is no network; names file and line.
        """
        reader = csv.DictReader(io.StringIO(text))
        rows: list[Locality] = []
        if reader.fieldnames is None or not {"prefix", "region", "isp"} <= set(reader.fieldnames):
            raise Invalid(
                "header must name prefix, region and isp", place=Place(file, 1), hint="first line: `prefix,region,isp`"
            )
        for row in reader:
            try:
                ipaddress.ip_network(row["prefix"])
            except ValueError as error:
                raise Invalid(
                    f"not an IP prefix: {error}", place=Place(file, reader.line_num), hint="write it as 10.1.0.0/16"
                ) from error
            rows.append(Locality(row["prefix"], row["region"], row["isp"]))
        return cls(rows)

    def lookup(self, address: str) -> Locality:
        """The row of the longest prefix that holds `address`, else `UNKNOWN`; never raises."""
        found = self._cache.get(address)
        if found is None:
            found = self._search(address)
            if len(self._cache) >= CACHE_LIMIT:
                self._cache.clear()
            self._cache[address] = found
        return found

    def _search(self, address: str) -> Locality:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return UNKNOWN
        number = int(ip)
        for length in self._lengths:
            if length <= ip.max_prefixlen:
                row = self._by_length[length].get((ip.version, number >> (ip.max_prefixlen - length)))
                if row is not None:
                    return row
        return UNKNOWN
