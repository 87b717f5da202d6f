"""Data of tutorials 7 and 8: from files, or made up; scores on what is made up mean nothing."""

import json

import numpy as np


def clinc150(folder):
    """Rows of a sentence and its intent, by part; whole domains are held out."""
    full = json.loads((folder / "data_full.json").read_text())
    domains = json.loads((folder / "domains.json").read_text())
    names = sorted(domains)

    def of(domains_of_part, *splits):
        intents = {intent for name in domains_of_part for intent in domains[name]}
        return [row for split in splits for row in full[split] if row[1] in intents]

    everything = "train", "val", "test"
    return {
        "train": of(names[:6], "train", "val"),
        "seen": of(names[:6], "test"),  # sentences that are not trained on, of intents that are
        "validation": of(names[6:8], *everything),
        "test": of(names[8:], *everything),
        "outside": full["oos_test"],
    }


def hwu64(folder, fold):
    """The same, of one of the five published splits of the intents."""
    rows = [json.loads(line) for line in (folder / "full.jsonl").read_text().splitlines()]

    def of(part):
        intents = set((folder / f"labels.{fold:02d}.{part}.txt").read_text().split())
        return [(row["sentence"], row["label"]) for row in rows if row["label"] in intents]

    return {"train": of("train"), "test": of("test")}


PHRASES = {
    "book_flight": ("book,get me,reserve", "a flight,a plane ticket,two seats on a plane"),
    "rent_car": ("rent,hire,find me", "a car,a small van,a car for the weekend"),
    "play_music": ("play,put on,start", "some music,my jazz songs,the new album"),
    "pay_bill": ("pay,settle,send the money for", "my phone bill,the water bill,my rent"),
    "block_card": ("block,freeze,stop", "my credit card,my stolen card,the lost card"),
    "set_alarm": ("set,make,give me", "an alarm for six,an early alarm,a wake up call"),
    "clean_floor": ("clean,sweep,vacuum", "the floor,the kitchen floor,the dirty carpet"),
    "order_pizza": ("order,bring me,i want", "a pizza,two large pizzas,pizza with cheese"),
    "read_news": ("read,tell me,show", "the news,today's headlines,the sports news"),
    "find_doctor": ("find,look up,call", "a doctor,a dentist near me,a good doctor"),
    "ask_weather": ("tell me,what is,check", "the weather,the weather tomorrow,rain today"),
    "dim_lights": ("dim,switch off,turn down", "the lights,the lamp upstairs,bedroom lights"),
    "send_email": ("send,write,answer", "an email,the email of my boss,a short mail"),
    "sell_shares": ("sell,get rid of,put on sale", "my shares,all my stock,ten shares"),
    "feed_pet": ("feed,give dinner to,look after", "the cat,my old dog,the hungry pets"),
    "tell_joke": ("tell me,say,make up", "a joke,something funny,a joke on cats"),
}


def sentences(seed=0):
    """Sentences of 16 intents: 10 to train on, 5 to test on, 1 outside."""
    random = np.random.default_rng(seed)
    openers, closers = ["", "please ", "hey can you ", "now "], ["", " please", " for me", " now"]

    def of(intents, first, last):
        rows = []
        for name in intents:
            verbs, things = (part.split(",") for part in PHRASES[name])
            texts = [
                o + v + " " + t + c for o in openers for v in verbs for t in things for c in closers
            ]
            rows += [(text, name) for text in random.permutation(texts)[first:last]]
        return rows

    names = list(PHRASES)
    return {
        "train": of(names[:10], 0, 40), "seen": of(names[:10], 40, 50),
        "test": of(names[10:15], 0, 40), "outside": of(names[15:], 0, 40),
    }  # fmt: skip


def sounds(words=16, speakers=6, takes=4, rate=16000, seed=0):
    """Recordings of one second: a word is three parts of three tones each, a speaker a pitch.

    Returns:
        Samples `[recordings, rate]`, float32 in -1..1, and the word and the speaker of each.
    """
    random = np.random.default_rng(seed)
    tones = random.uniform([250, 900, 2200], [800, 2000, 3600], (words, 3, 3))
    voice, pitch = random.uniform(0.85, 1.2, speakers), random.uniform(90, 220, speakers)
    word, speaker, _ = (i.ravel() for i in np.indices((words, speakers, takes)))
    time, recordings = np.arange(rate) / rate, []
    for w, s in zip(word, speaker, strict=True):
        begin, length = random.uniform(0.1, 0.3), random.uniform(0.4, 0.6)
        part = np.clip(3 * (time - begin) / length, 0, 2).astype(int)
        hertz = tones[w][part] * voice[s] * random.uniform(0.97, 1.03)
        sound = np.sin(2 * np.pi * np.cumsum(hertz, axis=0) / rate) @ [0.3, 0.2, 0.1]
        sound *= 0.6 + 0.4 * np.sin(2 * np.pi * pitch[s] * time)
        sound *= (time > begin) & (time < begin + length)
        recordings.append(sound + random.normal(0, 0.01, rate))
    return np.array(recordings, "float32"), word, speaker
