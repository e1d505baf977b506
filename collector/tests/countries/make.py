#!/usr/bin/env python3
"""Makes countries.mmdb, the file of countries that the tests use: documentation addresses (RFC 5737, RFC 3849) in three countries,
in the shapes of MaxMind's and of IPinfo's files. Needs `pip install mmdb_writer==0.2.7`; run it in this folder."""
from mmdb_writer import MMDBWriter
from netaddr import IPSet

writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="GeoLite2-Country", description="for tests")
writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "SE", "names": {"en": "Sweden"}}})
writer.insert_network(IPSet(["198.51.100.0/24"]), {"country_code": "DE", "country": "Germany"})
writer.insert_network(IPSet(["2001:db8:1::/48"]), {"country": {"iso_code": "FR"}})
writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "Elsewhere"}})
writer.to_db_file("countries.mmdb")
