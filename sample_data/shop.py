"""The shop that `generate` makes up: endless clean rows of its four tables, the same for the same random numbers.

A value is what a plain file of the table holds: text or None (an empty field) in a CSV table; text, number or None
in a JSON table. Other ways to write the same values are in awkward.py, what is not clean in defects.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Literal, TypeVar

__all__ = ["REFERENCE", "TABLES", "RawTable", "Row", "Sizes", "pick"]

T = TypeVar("T")
Row = dict[str, object]
"""One record, by column, in the order of its file."""

REFERENCE = datetime(2025, 6, 30)
"""The shop's "now" (UTC): fixed, since files depend on the seed alone, and past, so that no date is too late."""

# fmt: off
FIRST_NAMES = (
    "Anna", "Björn", "Chloé", "Dilan", "Élodie", "Frank", "Gül", "Hanna", "İpek", "José", "Käthe", "Liam",
    "María", "Noah", "Ólafur", "Petra", "René", "Søren", "Tomáš", "Víctor", "Yusuf", "Zoë", "李娜", "Иван",
)
LAST_NAMES = (
    "Adams", "Çelik", "de la Cruz", "Dvořák", "Ericsson", "García Márquez", "Ito", "Jansen", "Łuczak",
    "Müller", "Null", "O'Brien", "Peña", "Rossi", "Šimić", "Smith-Jones", "Tremblay", "Ünal", "van der Berg",
    "Weiß", "Yavaş",
)
# fmt: on
CITIES = (
    ("Berlin", "Germany"),
    ("Bogotá", "Colombia"),
    ("Zürich", "Switzerland"),
    ("São Paulo", "Brazil"),
    ("İstanbul", "Türkiye"),
    ("Washington, D.C.", "United States"),
    ("Kraków", "Poland"),
    ("Montréal", "Canada"),
    ("東京", "Japan"),
    ("Abidjan", "Côte d'Ivoire"),
)
STREETS = ("High Street", "Rue de l'Église", "Große Straße", "Calle Núñez", "Ørsteds Vej", "Avenida 9 de Julio")
MAIL_HOSTS = ("example.com", "mail.example.org", "shop-post.example", "example.co.uk")
CATALOGUE = {
    "Electronics": (("Phones", "Laptops", "Audio"), ("Voltaro", "Nørd", "Kilo & Hertz")),
    "Home & Kitchen": (("Cookware", "Bedding", "Lighting"), ("Hygge", "Maison Élan", "Oakline")),
    "Clothing": (("Shirts", "Shoes", "Jackets"), ("Atelier Zoë", "Northway", "Fil d'Or")),
    "Books": (("Fiction", "Cookery", "Travel"), ("Papyrus", "Café Press", "Ex Libris")),
    "Sports": (("Cycling", "Running", "Climbing"), ("Gipfel", "Corrida", "Pace/9")),
    "Toys": (("Puzzles", "Games", "Dolls"), ("Kobold", "Les Petits", "Tik-Tak")),
}
QUALITIES = ("Classic", "Crème", "Pro", "Mini", '13" slim', "Naïve", "No. 5", "Élite")
GENDERS = ("female", "male", "non-binary", None)
PAYMENTS = ("credit_card", "debit_card", "paypal", "bank_transfer", "gift_card")
# Half a cent is often what a discount leaves, so rounding half up shows in total_paid.
DISCOUNTS = (*("0",) * 12, *(None,) * 3, "0.05", "0.1", "0.125", "0.15", "0.25", "0.5", "0.05", "0.1", "1")
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/127.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5)",
    "Mozilla/5.0 (Windows NT 10.0; Win64) Edg/126.0",
    "ShopApp/4.2 (Android 14; fr-FR)",
)
SEARCHES = ("laptop", "caf%C3%A9", "running+shoes", "gift", "13%22+sleeve")
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many records of each table were asked for."""

    customers: int
    products: int
    transactions: int
    user_events: int


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table of the shop as raw files: its format, its columns by how they may be written, and its rows.

    `rows` yields clean rows without end, each with a primary key (`key`) of its own. `free_text` names the optional
    STRING columns that no rule and no query depends on, `optional` the columns that may be null.
    """

    name: Literal["customers", "products", "transactions", "user_events"]
    format: Literal["csv", "json"]
    key: str
    rows: Callable[[Random, Sizes], Iterator[Row]]
    optional: tuple[str, ...]
    free_text: tuple[str, ...]
    timestamp: str | None = None
    integers: tuple[str, ...] = ()
    numerics: tuple[str, ...] = ()


def pick(rng: Random, values: Sequence[T]) -> T:
    """One of `values`. Three times as fast as `rng.choice`, which counts with a million events."""
    return values[int(rng.random() * len(values))]


def customers(rng: Random, _sizes: Sizes) -> Iterator[Row]:
    """Customers C000001, C000002, …; a few registered long ago, which only a partition column would forbid."""
    for number in count(1):
        first, last = pick(rng, FIRST_NAMES), pick(rng, LAST_NAMES)
        city, country = pick(rng, CITIES)
        age = 20 * 365 if rng.random() < 0.01 else 5 * 365
        registered = REFERENCE - timedelta(seconds=int(rng.random() * age * DAY))
        yield {
            "customer_id": f"C{number:06d}",
            "email": f"{_ascii(first)}.{_ascii(last)}+{number}@{pick(rng, MAIL_HOSTS)}",
            "first_name": first,
            "last_name": last,
            "age": str(16 + int(rng.random() * 75)),
            "gender": pick(rng, GENDERS),
            "city": city,
            "country": country,
            "registration_date": registered.isoformat(sep=" "),
        }


def products(rng: Random, _sizes: Sizes) -> Iterator[Row]:
    """Products P00001, P00002, …; prices from about 2 to 1,500, mostly low."""
    categories = tuple(CATALOGUE)
    for number in count(1):
        category = pick(rng, categories)
        subcategories, brands = CATALOGUE[category]
        subcategory, brand = pick(rng, subcategories), pick(rng, brands)
        cents = 199 + int(150_000 * rng.random() ** 4)
        yield {
            "product_id": f"P{number:05d}",
            "name": f"{brand} {pick(rng, QUALITIES)} {subcategory}",
            "category": category,
            "subcategory": subcategory,
            "brand": brand,
            "price": cents / 100,
            "cost": int(cents * (0.4 + 0.7 * rng.random())) / 100,
            "stock_quantity": int(rng.random() * 500),
        }


def transactions(rng: Random, sizes: Sizes) -> Iterator[Row]:
    """A year of transactions; `total_amount` is before the discount. About 1 in 200 is of an unknown product."""
    for number in count(1):
        quantity = 1 + int(5 * rng.random() ** 3)
        cents = 199 + int(150_000 * rng.random() ** 4)
        city, country = pick(rng, CITIES)
        moment = REFERENCE - timedelta(seconds=1 + int(rng.random() * 365 * DAY))
        yield {
            "transaction_id": f"txn_{_scattered(number):016x}",
            "customer_id": _customer(rng, sizes),
            "product_id": _product(rng, sizes),
            "quantity": str(quantity),
            "unit_price": _money(cents),
            "total_amount": _money(quantity * cents),
            "discount": pick(rng, DISCOUNTS),
            "transaction_date": moment.isoformat(),
            "payment_method": pick(rng, PAYMENTS),
            "shipping_address": f"{1 + int(rng.random() * 200)} {pick(rng, STREETS)}, {city}, {country}",
        }


def user_events(rng: Random, sizes: Sizes) -> Iterator[Row]:
    """Events of the last 30 days, session by session: views, some carts, few purchases, as a shop's funnel has it."""
    number = 0
    for session in count(1):
        customer, agent = _customer(rng, sizes), pick(rng, AGENTS)
        moment = REFERENCE - timedelta(seconds=4_000 + rng.random() * 30 * DAY)
        cart = 0
        product = _product(rng, sizes)
        for step in range(1 + int(9 * rng.random() ** 1.5)):
            number += 1
            moment += timedelta(seconds=1 + rng.random() * 240)
            chance = rng.random()
            if cart and chance < 0.25:
                kind, cart = "purchase", 0
            elif cart and chance < 0.33:
                kind, cart = "remove_from_cart", cart - 1
            elif step and chance > 0.82:
                kind, cart = "add_to_cart", cart + 1
            elif chance > 0.68:
                kind = "search"
            else:
                kind, product = "page_view", _product(rng, sizes)
            search = kind == "search"
            yield {
                "event_id": f"evt_{_scattered(number):016x}",
                "customer_id": customer,
                "product_id": None if search else product,
                "event_type": kind,
                "event_timestamp": f"{moment.isoformat(timespec='milliseconds')}Z",
                "session_id": f"s{session:07d}",
                "page_url": f"/search?q={pick(rng, SEARCHES)}" if search else f"/p/{product}",
                "user_agent": agent,
            }


def _customer(rng: Random, sizes: Sizes) -> str:
    return f"C{1 + int(rng.random() * max(1, sizes.customers)):06d}"


def _product(rng: Random, sizes: Sizes) -> str:
    """Some products are far more popular than others; 1 in 200 was never in the catalogue."""
    if rng.random() < 0.005:
        return "P99999X"
    return f"P{1 + int(rng.random() ** 2 * max(1, sizes.products)):05d}"


def _scattered(number: int) -> int:
    """62 bits that look random and never repeat: an odd factor permutes the integers modulo a power of two."""
    return number * 0x9E3779B97F4A7C15 % 2**62


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _ascii(name: str) -> str:
    """A name as it stands in an e-mail address; "customer" where nothing of it is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z]+", "", plain) or "customer"


TABLES = (
    RawTable(
        name="customers",
        format="csv",
        key="customer_id",
        rows=customers,
        optional=("age", "gender", "city", "country", "registration_date"),
        free_text=("last_name", "city"),
        timestamp="registration_date",
        integers=("age",),
    ),
    RawTable(
        name="products",
        format="json",
        key="product_id",
        rows=products,
        optional=("subcategory", "brand", "price", "cost", "stock_quantity"),
        free_text=("subcategory", "brand"),
        integers=("stock_quantity",),
        numerics=("price", "cost"),
    ),
    RawTable(
        name="transactions",
        format="csv",
        key="transaction_id",
        rows=transactions,
        optional=("quantity", "unit_price", "total_amount", "discount", "payment_method", "shipping_address"),
        free_text=("payment_method", "shipping_address"),
        timestamp="transaction_date",
        integers=("quantity",),
        numerics=("unit_price", "total_amount", "discount"),
    ),
    RawTable(
        name="user_events",
        format="json",
        key="event_id",
        rows=user_events,
        optional=("product_id", "session_id", "page_url", "user_agent"),
        free_text=("page_url", "user_agent"),
        timestamp="event_timestamp",
    ),
)
