"""The currencies there are: codes of ISO 4217 as of its amendment 180 (2026-01-01).

Money that people pay with, and no other entry of the standard: none for funds (like CLF), metals (XAU), units of
account between banks (XDR), tests, or no currency at all. Credits of a provider are no currency: what they were bought
with is.
"""

CODES = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
    HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT
    TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
""".split()  # noqa: SIM905 - a list of quoted codes is a page
)

MEANT = {
    "ANG": "XCG",
    "BGN": "EUR",
    "BYR": "BYN",
    "CNH": "CNY",
    "CUC": "CUP",
    "HRK": "EUR",
    "MRO": "MRU",
    "NTD": "TWD",
    "RMB": "CNY",
    "RUR": "RUB",
    "SLL": "SLE",
    "STD": "STN",
    "UKP": "GBP",
    "VEF": "VES",
    "ZWL": "ZWG",
}
"""What replaced a code, or is the right one where people write another."""
