"""A contract whose columns are classified in every way, and records with planted values in all of these columns."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.odcs.tables import load

__all__ = ["CLEAN", "CONTRACT", "NUMBER", "PEOPLE", "WORD", "broken"]

WORD = "pl4nted"
NUMBER = "73182645"
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: people
version: 1.0.0
schema:
  - name: people
    properties:
      - {name: person_id, logicalType: string, required: true, primaryKey: true}
      - name: email
        logicalType: string
        required: true
        classification: Personal
        logicalTypeOptions: {format: email, maxLength: 30}
      - {name: age, logicalType: integer, classification: a word of nobody, logicalTypeOptions: {maximum: 130}}
      - {name: born, logicalType: date, classification: restricted}
      - {name: level, logicalType: string, classification: confidential, enum: [{value: low}]}
      - {name: pet, logicalType: string, classification: pii, logicalTypeOptions: {pattern: "^[a-z' ]+$"}}
      - {name: city, logicalType: string, classification: public}
      - {name: floor, logicalType: integer, classification: Internal}
      - name: home
        logicalType: object
        properties:
          - {name: street, logicalType: string, classification: sensitive}
          - {name: zone, logicalType: integer}
      - name: phones
        logicalType: array
        items:
          logicalType: object
          properties:
            - {name: digits, logicalType: string, classification: personal, required: true}
            - {name: use, logicalType: string, enum: [{value: work}, {value: home}]}
      - name: login
        logicalType: string
        classification: personal
        customProperties: [{property: source, value: user.login}]
      - {name: agent, logicalType: string, customProperties: [{property: source, value: user.agent}]}
      - {name: shout, logicalType: string, transformLogic: UPPER(pet)}
      - {name: above, logicalType: integer, transformLogic: floor + 1}
"""
PEOPLE = load([("people", CONTRACT)])["people"]
CLEAN = {
    "person_id": "p1",
    "email": f"{WORD}@x.com",
    "age": 30,
    "born": "2000-01-02",
    "level": "low",
    "pet": f"{WORD.replace('4', 'a')}",
    "city": "Bonn",
    "floor": 3,
    "home": {"street": WORD, "zone": 7},
    "phones": [{"digits": WORD, "use": "work"}],
    "user": {"login": WORD, "agent": "curl"},
}
BREAKS = {
    "email": [WORD, f'{WORD}" is not an e-mail address', {"a": WORD}, [WORD], WORD * 40, int(NUMBER)],
    "age": [int(NUMBER), WORD, float(NUMBER) + 0.5, int(NUMBER * 4), {"a": WORD}],
    "born": [WORD, int(NUMBER), f"{NUMBER}-01-01"],
    "level": [WORD, int(NUMBER)],
    "pet": [f"{WORD} is not one of", f"{WORD}'", {"x": int(NUMBER)}],
    "home": [
        WORD,
        [WORD],
        {"street": [WORD]},
        {"street": WORD, "zone": "north"},
        f'{{"street": "{WORD}"',
        f'{{"street": "{WORD}", "zone": "n"}}',
    ],
    "phones": [WORD, {"digits": WORD}, [{"digits": WORD, "use": "x"}], [{"digits": [WORD]}], [None, {"digits": WORD}]],
    "user": [{"login": {"a": WORD}}, {"login": WORD, "agent": {"b": 1}}],
    "city": [["x"]],
    "floor": ["third"],
    "emial": [WORD],
    "person_id": [None],
}


def broken() -> Iterator[dict[str, object]]:
    """Yield records, each of which breaks another rule."""
    for name, values in BREAKS.items():
        for value in values:
            yield {**CLEAN, name: value}
