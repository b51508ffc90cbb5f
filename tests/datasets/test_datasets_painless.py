"""The functions that every script may use, against Python's own idea of the same thing."""

from __future__ import annotations

import ipaddress
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.derive import PRIVATE_NETWORKS, network_table
from sigmawatch.datasets.script import Script, literal

if TYPE_CHECKING:
    from datasets.dataset_server import Server

NOW = "System.currentTimeMillis()"


def source(main: str) -> str:
    return Script().text(main)


def addresses(count: int) -> list[str]:
    pick = random.Random(20260301)
    found = [
        "", ".", "1", "1.2.3", "1.2.3.4", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1..2.3", ".1.2.3.4", "1.2.3.4.",
        "::", "::1", "1::", ":1", "1:", ":::", "1:::2", "::1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "1::3:4:5:6:7:8", "::ffff:1.2.3.4", "::ffff:102:304", "::1.2.3.4",
        "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5", "1.2.3.4::", "12345::", "g::1", "fe80::1%eth0",
        "::ffff:1.2.3.400", "0:0:0:0:0:ffff:a00:1", "[::1]", " 1.2.3.4", "1.2.3.4 ", "0x1.2.3.4", "１.2.3.4",
        "1.2.3.-4", "::FFFF:10.0.0.1", "FE80::ABCD", "1.2.3.4/24", "::/0", "+1.2.3.4", "1e1.2.3.4", "%",
        "::1%", "1%2", "%::1",
    ]  # fmt: skip
    while len(found) < count:
        kind = pick.randrange(5)
        if kind == 0:
            found.append(".".join(str(pick.randrange(300)) for _ in range(pick.choice([4, 4, 4, 3, 5]))))
        elif kind == 1:
            found.append(str(ipaddress.IPv6Address(pick.getrandbits(pick.choice([16, 64, 128])))))
        elif kind == 2:
            found.append("".join(pick.choice("0123456789abcdefF:::..") for _ in range(pick.randrange(1, 20))))
        elif kind == 3:
            groups = [f"{pick.getrandbits(16):x}" for _ in range(pick.randrange(1, 10))]
            if pick.random() < 0.6:
                groups.insert(pick.randrange(len(groups) + 1), "")
            found.append(":".join(groups))
        else:
            text = list(str(ipaddress.IPv6Address(pick.getrandbits(128))))
            text[pick.randrange(len(text))] = pick.choice(":.0g%")
            found.append("".join(text))
    return found


def expected_address(text: str) -> str | None:
    if "%" in text and ":" in text and not text.startswith("%"):
        text = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped) if address.ipv4_mapped else text.lower()
    return text


def test_addresses_are_those_that_python_accepts(server: Server) -> None:
    texts = addresses(4000)
    found = server.run(source("ctx.put('out', ip(ctx.get('in')));"), [{"in": text} for text in texts])
    wrong = [
        (text, document["out"], expected_address(text))
        for text, document in zip(texts, found, strict=True)
        if document["out"] != expected_address(text)
    ]
    assert not wrong
    assert sum(document["out"] is not None for document in found) > 1000


def test_private_networks_are_found_by_arithmetic(server: Server) -> None:
    pick = random.Random(7)
    networks = [ipaddress.ip_network(text) for text in PRIVATE_NETWORKS]
    texts: list[str] = []
    for network in networks:
        first, last = int(network.network_address), int(network.broadcast_address)
        kind = type(network.network_address)
        texts += [
            str(kind(number))
            for number in (first, last, first - 1, last + 1)
            if 0 <= number < 2**network.max_prefixlen
        ]
    texts += [str(ipaddress.IPv4Address(pick.getrandbits(32))) for _ in range(500)]
    texts += [str(ipaddress.IPv6Address(pick.getrandbits(128))) for _ in range(200)]
    script = "ctx.put('out', inNetworks(ipBits(ip(ctx.get('in'))), (Map)params.get('networks')));"
    found = server.run(
        source(script), [{"in": text} for text in texts], networks=network_table(PRIVATE_NETWORKS)
    )
    for text, document in zip(texts, found, strict=True):
        address = ipaddress.ip_address(text)
        inside = any(address in network for network in networks if network.version == address.version)
        assert document["out"] == inside, text


def test_moments_survive_the_way_to_text_and_back(server: Server) -> None:
    pick = random.Random(3)
    moments = [0, 951782400000, 951868799999, 4107542400000, 253402300799999]
    moments += [pick.randrange(253402300800000) for _ in range(1500)]
    script = "ctx.put('text', iso(ctx.get('ms'))); ctx.put('back', isoMs(ctx.get('text')));"
    for moment, document in zip(
        moments, server.run(source(script), [{"ms": ms} for ms in moments]), strict=True
    ):
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)
        assert document["text"] == expected.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert document["back"] == moment


def test_iso_times_with_zones_and_fractions(server: Server) -> None:
    cases = {
        "2026-03-01T10:00:00Z": "2026-03-01T10:00:00.000Z",
        "2026-03-01 10:00:00": "2026-03-01T10:00:00.000Z",
        "2026-03-01T10:00:00.1+01:00": "2026-03-01T09:00:00.100Z",
        "2026-03-01T10:00:00,123456789-0530": "2026-03-01T15:30:00.123Z",
        "2026-03-01T00:30:00+01": "2026-02-28T23:30:00.000Z",
        "2024-02-29T10:00:00Z": "2024-02-29T10:00:00.000Z",
        "2016-12-31T23:59:60Z": "2017-01-01T00:00:00.000Z",
        "2026-02-29T10:00:00Z": None,
        "2026-13-01T10:00:00Z": None,
        "2026-03-01T24:00:00Z": None,
        "2026-03-01T10:00:00+1:00": None,
        "2026-03-01T10:00:00Zulu": None,
        "2026-03-01": None,
        "aaaa-bb-ccTdd:ee:ffZ": None,
        "2026-03-01T10:00:00.": None,
        "": None,
    }
    script = "long ms = isoMs(ctx.get('in')); ctx.put('out', ms < 0L ? null : iso(ms));"
    found = server.run(source(script), [{"in": text} for text in cases])
    assert {text: document["out"] for text, document in zip(cases, found, strict=True)} == cases


def test_stamps_without_a_year_are_of_the_last_year_that_fits(server: Server) -> None:
    cases = {
        ("Mar  1 10:00:00", "2026-06-01T00:00:00Z", "UTC"): "2026-03-01T10:00:00.000Z",
        ("Dec 31 23:59:59", "2026-01-01T00:00:10Z", "UTC"): "2025-12-31T23:59:59.000Z",
        ("Jan  1 00:00:05", "2025-12-31T23:59:59Z", "UTC"): "2026-01-01T00:00:05.000Z",
        ("Jun  2 00:00:00", "2026-06-01T00:00:00Z", "UTC"): "2026-06-02T00:00:00.000Z",
        ("Jun  2 00:00:01", "2026-06-01T00:00:00Z", "UTC"): "2025-06-02T00:00:01.000Z",
        ("Feb 29 12:00:00", "2026-06-01T00:00:00Z", "UTC"): "2024-02-29T12:00:00.000Z",
        ("Feb 29 12:00:00", "2103-06-01T00:00:00Z", "UTC"): "2096-02-29T12:00:00.000Z",
        ("Feb 29 12:00:00", "2028-02-29T13:00:00Z", "UTC"): "2028-02-29T12:00:00.000Z",
        ("Mar 01 10:00:00.25", "2026-06-01T00:00:00Z", "UTC"): "2026-03-01T10:00:00.250Z",
        ("Mar  1 2019 10:00:00", "2026-06-01T00:00:00Z", "UTC"): "2019-03-01T10:00:00.000Z",
        ("Jul  1 10:00:00", "2026-08-01T00:00:00Z", "Europe/Berlin"): "2026-07-01T08:00:00.000Z",
        ("Jan  5 10:00:00", "2026-08-01T00:00:00Z", "-05:00"): "2026-01-05T15:00:00.000Z",
        ("Feb 30 10:00:00", "2026-06-01T00:00:00Z", "UTC"): None,
        ("Mar  1 10:00", "2026-06-01T00:00:00Z", "UTC"): None,
        ("Foo  1 10:00:00", "2026-06-01T00:00:00Z", "UTC"): None,
        ("arM  1 10:00:00", "2026-06-01T00:00:00Z", "UTC"): None,
        ("Mar  x 10:00:00", "2026-06-01T00:00:00Z", "UTC"): None,
    }
    script = (
        "long ms = bsdMs(ctx.get('in'), isoMs(ctx.get('now')), ctx.get('zone'));"
        "ctx.put('out', ms < 0L ? null : iso(ms));"
    )
    documents = [{"in": text, "now": now, "zone": zone} for text, now, zone in cases]
    found = server.run(source(script), documents)
    assert {key: document["out"] for key, document in zip(cases, found, strict=True)} == cases


def test_formats_without_a_year_mean_the_last_year_that_fits(server: Server) -> None:
    cases = {
        ("12/31-23:59:59.5", "2026-01-01T00:00:10Z"): "2025-12-31T23:59:59.500Z",
        ("01/01-00:00:05.000001", "2025-12-31T23:59:59Z"): "2026-01-01T00:00:05.000Z",
        ("03/01-10:00:00.123456", "2026-06-01T00:00:00Z"): "2026-03-01T10:00:00.123Z",
        ("02/29-10:00:00.1", "2026-06-01T00:00:00Z"): "2024-02-29T10:00:00.100Z",
        ("13/01-10:00:00.1", "2026-06-01T00:00:00Z"): None,
        ("03/01/26-10:00:00.1", "2026-06-01T00:00:00Z"): None,
    }
    script = (
        "long ms = timeOf(ctx.get('in'), 'MM/dd-HH:mm:ss.SSSSSS', isoMs(ctx.get('now')), 'UTC');"
        "ctx.put('out', ms < 0L ? null : iso(ms));"
    )
    found = server.run(source(script), [{"in": text, "now": now} for text, now in cases])
    assert {key: document["out"] for key, document in zip(cases, found, strict=True)} == cases


def test_numbers_that_do_not_fit_a_long_are_none(server: Server) -> None:
    texts = {
        "0": 0, "42": 42, "-1": -1, "9223372036854775807": 2**63 - 1, "9223372036854775808": None, "007": 7,
        "18446744073709551615": None, "": None, "-": None, "+1": None, "1.0": None, "1e3": None, "٣": None, " 1": None,
    }  # fmt: skip
    found = server.run(source("ctx.put('out', integer(ctx.get('in')));"), [{"in": text} for text in texts])
    assert [document["out"] for document in found] == list(texts.values())


def test_literals_mean_what_they_say(server: Server) -> None:
    pick = random.Random(5)
    texts = [
        "",
        "'",
        "\\",
        "\\'",
        "''",
        "\\\\'",
        "\n",
        "\r\n",
        "\t",
        "\x00",
        "${x}",
        "{{ctx}}",
        '"',
        "*/",
        "//",
        "☃𝄞",
    ]
    texts += ["".join(pick.choice("'\\\"\n;}{ax\x00☃") for _ in range(12)) for _ in range(60)]
    main = "".join(f"ctx.put('v{number}', {literal(text)});\n" for number, text in enumerate(texts))
    document = server.run(main, [{}])[0]
    assert [document[f"v{number}"] for number in range(len(texts))] == texts


def test_ids_of_azure_resources_are_taken_apart(server: Server) -> None:
    subscription = "11111111-2222-3333-4444-55555555aaaa"
    group = f"/subscriptions/{subscription}/resourceGroups/rg-Web"
    cases: dict[str, dict[str, Any]] = {
        f"{group.upper()}/PROVIDERS/MICROSOFT.NETWORK/AZUREFIREWALLS/FW-1": {
            "group": "rg-web", "provider": "microsoft.network/azurefirewalls", "name": "fw-1",
        },
        f"{group}/providers/Microsoft.Network/virtualNetworks/Vnet-1/subnets/apps": {
            "group": "rg-web", "provider": "microsoft.network/virtualnetworks/subnets", "name": "vnet-1/apps",
        },
        f"{group}/providers/Microsoft.Storage/storageAccounts/a/providers/Microsoft.Insights/diagnosticSettings/d": {
            "group": "rg-web", "provider": "microsoft.insights/diagnosticsettings", "name": "d",
        },
        f"{group}/providers/Microsoft.Compute/virtualMachines": {
            "group": "rg-web", "provider": "microsoft.compute/virtualmachines",
        },
        group: {"group": "rg-web"},
        f"{group}/": {"group": "rg-web"},
        f"/subscriptions/{subscription}": {},
    }  # fmt: skip
    ids = [
        *cases,
        f"/tenants/{subscription}/providers/Microsoft.aadiam",
        "vm-1",
        "/",
        "//",
        "/providers/",
        "",
    ]
    main = """\
Map azure = new HashMap();
Map resource = new HashMap();
Map account = new HashMap();
putAzureResource(ctx.get('in'), azure, resource, account);
putAzureResource('/subscriptions/second/resourceGroups/second', azure, resource, account);
ctx.put('azure', azure);
ctx.put('resource', resource);
ctx.put('account', account);
"""
    found = server.run(source(main), [{"in": text} for text in ids])
    for (text, expected), document in zip(cases.items(), found, strict=False):
        assert document["resource"] == {"id": text, **expected}
        assert document["azure"] == {"subscription_id": subscription}
        assert document["account"] == {"id": subscription}
    tenant, *others = found[len(cases) :]
    assert tenant["azure"] == {"tenant_id": subscription}
    assert tenant["resource"]["provider"] == "microsoft.aadiam"
    for text, document in zip(ids[len(cases) + 1 :], others, strict=True):
        assert document["resource"] == {"id": text}, text
        assert document["azure"] == document["account"] == {}


def test_times_as_azure_writes_them(server: Server) -> None:
    cases = {
        "2026-03-01T13:05:09.1234567Z": 123,
        "2026-03-01T13:05:09.123456789Z": 123,
        "2026-03-01T14:05:09.5+01:00": 500,
        "2026-03-01T13:05:09Z": 0,
        "2026-03-01 13:05:09": 0,
        "3/1/2026 1:05:09 PM +00:00": 0,
        "3/1/2026 2:05:09 PM +01:00": 0,
        "03/01/2026 01:05:09 PM": 0,
        "3/1/2026 13:05:09": 0,
        "3/1/2026 13:05:09 Z": 0,
        "13/1/2026 1:05:09 PM": None,
        "3/1/2026 13:05:09 PM": None,
        "yesterday": None,
        "": None,
    }
    expected = int(datetime(2026, 3, 1, 13, 5, 9, tzinfo=UTC).timestamp()) * 1000
    main = "ctx.put('out', azureMs(ctx.get('in'), System.currentTimeMillis()));"
    found = server.run(source(main), [{"in": text} for text in cases])
    for (text, ms), document in zip(cases.items(), found, strict=True):
        assert document["out"] == (-1 if ms is None else expected + ms), text


def test_moments_since_a_device_was_started(server: Server) -> None:
    cases = {
        "3570000 3600000 2026-03-01T10:00:30.000Z": "2026-03-01T10:00:00.000Z",
        "3600000 3600000 1772359230": "2026-03-01T10:00:30.000Z",
        # The clock of the device began again in between, or between the flow's end and the telling.
        "4294966296 5000 2026-03-01T10:00:30.000Z": "2026-03-01T10:00:24.000Z",
        "1000 4294966296 2026-03-01T10:00:30.000Z": "2026-03-01T10:00:32.000Z",
        "3600250 3600000 2026-03-01T10:00:30.000Z": "2026-03-01T10:00:30.250Z",
        "3570000 3600000": None,
        "-1 3600000 2026-03-01T10:00:30.000Z": None,
        "3570000  2026-03-01T10:00:30.000Z": None,
        "3570000 3600000 then": None,
        "0 99999999999999 2026-03-01T10:00:30.000Z": None,
    }
    script = "long ms = sinceBootMs(ctx.get('in')); ctx.put('out', ms < 0L ? null : iso(ms));"
    found = server.run(source(script), [{"in": text} for text in cases])
    assert {text: document["out"] for text, document in zip(cases, found, strict=True)} == cases
