"""Road signs by the catalogues of their countries: limits of speed, their ends, and signs to stop and to give way.

Source: the numbers of signs in the road traffic rules of the countries below; those that stop or give way were written down
without the texts at hand, and are to be corrected where a country's own list says otherwise.
"""

LIMITS = {
    "": ("274", "274.1", "r2-1", "670", "c14"),  # without a country: Germany's, the United States', Britain's, Vienna's
    "AT": ("52.10a", "10a"),
    "AU": ("r4-1",),
    "BE": ("c43",),
    "CA": ("rb-1",),
    "CH": ("2.30", "2.59.1"),
    "CZ": ("b20a",),
    "DE": ("274", "274.1"),
    "DK": ("c55",),
    "ES": ("r-301", "r301"),
    "FI": ("c32", "361"),
    "FR": ("b14", "b30"),
    "GB": ("670", "674"),
    "IT": ("ii.50", "ii50"),
    "JP": ("323",),
    "KR": ("224",),
    "NL": ("a1", "a01"),
    "NO": ("362",),
    "PL": ("b-33", "b33"),
    "PT": ("c13",),
    "SE": ("c31",),
    "US": ("r2-1",),
}
"""Types of signs that limit the speed, of one lane or of a zone, by the country's two letters; in small letters."""
ENDS = {
    "": ("274.2", "278", "282"),
    "AT": ("52.10b", "10b"),
    "CH": ("2.53", "2.59.2"),
    "DE": ("274.2", "278", "282"),
    "ES": ("r-501", "r501"),
    "FR": ("b31", "b33", "b51"),
    "NL": ("a2", "a02"),
    "PL": ("b-34", "b34"),
    "SE": ("c32",),
}
"""Types of signs that end a limit."""
NAMES = {
    "AUT": "AT", "AUS": "AU", "BEL": "BE", "CAN": "CA", "CHE": "CH", "CZE": "CZ", "DEU": "DE", "GER": "DE", "DNK": "DK",
    "ESP": "ES", "FIN": "FI", "FRA": "FR", "GBR": "GB", "UK": "GB", "ITA": "IT", "JPN": "JP", "KOR": "KR", "NLD": "NL",
    "NOR": "NO", "POL": "PL", "PRT": "PT", "SWE": "SE", "USA": "US",
}  # fmt: skip
"""Other names of countries; OpenDRIVE asks for three letters up to 1.5, for two from 1.6 on."""
STOPS = {
    "": ("206", "r1-1"),
    "AT": ("52.24",),
    "AU": ("r1-1",),
    "BE": ("b5",),
    "CA": ("ra-1",),
    "CH": ("3.01",),
    "CZ": ("p6",),
    "DE": ("206",),
    "DK": ("b13",),
    "ES": ("r-2", "r2"),
    "FI": ("b6", "232"),
    "FR": ("ab4",),
    "GB": ("601.1",),
    "IT": ("ii.37", "ii37"),
    "JP": ("330",),
    "KR": ("227",),
    "NL": ("b7", "b07"),
    "NO": ("204",),
    "PL": ("b-20", "b20"),
    "PT": ("b2",),
    "SE": ("b2",),
    "US": ("r1-1",),
}
"""Types of signs at which one stops."""
YIELDS = {
    "": ("205", "r1-2"),
    "AT": ("52.23",),
    "AU": ("r1-2",),
    "BE": ("b1",),
    "CA": ("ra-2",),
    "CH": ("3.02",),
    "CZ": ("p4",),
    "DE": ("205",),
    "DK": ("b11",),
    "ES": ("r-1", "r1"),
    "FI": ("b5", "231"),
    "FR": ("ab3a", "ab3"),
    "GB": ("602",),
    "IT": ("ii.36", "ii36"),
    "KR": ("228",),
    "NL": ("b6", "b06"),
    "NO": ("202",),
    "PL": ("a-7", "a7"),
    "PT": ("b1",),
    "SE": ("b1",),
    "US": ("r1-2",),
}
"""Types of signs at which one gives way."""
OWN_NUMBERS = ("FI", "JP", "KR", "NO")
"""Countries that number their signs, other signs than Germany: 206 is a priority road in Norway."""


def country(given: str) -> str:
    """The two letters of a country; empty where the catalogue is nobody's, as OpenDRIVE's own."""
    name = given.strip().upper()
    name = NAMES.get(name, name)
    return name if name in LIMITS else ""


def is_one(kind: str, of: str, catalogues: dict[str, tuple[str, ...]]) -> bool:
    """Whether a type of sign is in the catalogue of a country, or in those that hold everywhere.

    of: the two letters of `country`.
    """
    name = kind.replace(" ", "").replace(",", "").lower()
    return name in catalogues.get(of, ()) or (of not in OWN_NUMBERS and name in catalogues[""])
