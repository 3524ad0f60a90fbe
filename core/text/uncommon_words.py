"""Uncommon English words, names among them, that a tokenizer is likely to write as several tokens; written for HeadScope."""

from __future__ import annotations

UNCOMMON_WORDS = (
    "Ljubljana, Reykjavik, Samarkand, Valparaiso, Kathmandu, Timbuktu, Yaroslavl, Guadalajara, Antananarivo, Ouagadougou, "
    "Bratislava, Thessaloniki, Novosibirsk, Tegucigalpa, Montevideo, Ulaanbaatar, Dubrovnik, Zanzibar, Trondheim, Gdansk. "
    "Aardvarks, pangolins, axolotls, cassowaries, wolverines, capybaras, orangutans, salamanders, hummingbirds, porcupines, "
    "armadillos, nightingales, woodpeckers, barracudas, mongooses, marmosets, kingfishers, flamingos, wildebeest, ptarmigan. "
    "Rhubarb, artichokes, tamarind, cardamom, marzipan, sauerkraut, pomegranate, persimmons, gooseberries, horseradish, "
    "buckwheat, butterscotch, gingerbread, nectarines, watercress, elderflower, molasses, peppercorns, saffron, tarragon. "
    "Harpsichord, bassoon, xylophone, glockenspiel, mandolin, tambourine, accordion, clavichord, bagpipes, dulcimer. "
    "Blacksmith, cobbler, chimneysweep, glassblower, clockmaker, lighthouse, windowpane, wheelbarrow, weathervane, scarecrow, "
    "candlestick, corkscrew, drawbridge, gravestone, haystack, hourglass, kneecap, lampshade, matchbox, nutcracker, "
    "pincushion, quicksand, rollercoaster, snowdrift, tablecloth, thunderclap, toothbrush, whirlpool, wristwatch, yardstick. "
    "Archipelago, isthmus, stalactite, permafrost, escarpment, estuary, fjord, lagoon, moraine, tundra, obsidian, feldspar, "
    "malachite, turquoise, gypsum, alabaster, porphyry, tourmaline, chalcedony, amethyst. "
    "Quixotic, lugubrious, cantankerous, effervescent, gregarious, iridescent, labyrinthine, mellifluous, obstreperous, "
    "perspicacious, querulous, recalcitrant, serendipity, taciturn, ubiquitous, vociferous, whimsical, zealous."
)
