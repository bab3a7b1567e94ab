"""Languages as the catalogue writes them: ISO 639-1 codes, ISO 639-3 where there is no shorter one."""

from __future__ import annotations

from sememe.errors import InputError

# Every code that the catalogue uses, with the name to show. Codes and names: ISO 639.
NAMES: dict[str, str] = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "as": "Assamese", "ast": "Asturian", "az": "Azerbaijani",
    "ba": "Bashkir", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "bo": "Tibetan", "br": "Breton",
    "bs": "Bosnian", "ca": "Catalan", "ceb": "Cebuano", "co": "Corsican", "cs": "Czech", "cy": "Welsh",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fo": "Faroese", "fr": "French",
    "fy": "Western Frisian", "ga": "Irish", "gd": "Scottish Gaelic", "gl": "Galician", "gu": "Gujarati",
    "ha": "Hausa", "haw": "Hawaiian", "he": "Hebrew", "hi": "Hindi", "hmn": "Hmong", "hr": "Croatian",
    "ht": "Haitian Creole", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "ig": "Igbo",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "jv": "Javanese", "ka": "Georgian", "kk": "Kazakh",
    "km": "Khmer", "kn": "Kannada", "ko": "Korean", "ku": "Kurdish", "ky": "Kyrgyz", "la": "Latin",
    "lb": "Luxembourgish", "ln": "Lingala", "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian", "mg": "Malagasy",
    "mi": "Maori", "mk": "Macedonian", "ml": "Malayalam", "mn": "Mongolian", "mr": "Marathi", "ms": "Malay",
    "mt": "Maltese", "my": "Burmese", "ne": "Nepali", "nl": "Dutch", "nn": "Norwegian Nynorsk",
    "no": "Norwegian", "ny": "Chichewa", "oc": "Occitan", "om": "Oromo", "or": "Odia", "pa": "Punjabi",
    "pl": "Polish", "ps": "Pashto", "pt": "Portuguese", "qu": "Quechua", "ro": "Romanian", "ru": "Russian",
    "rw": "Kinyarwanda", "sa": "Sanskrit", "sd": "Sindhi", "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian",
    "sm": "Samoan", "sn": "Shona", "so": "Somali", "sq": "Albanian", "sr": "Serbian", "st": "Southern Sotho",
    "su": "Sundanese", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "tg": "Tajik",
    "th": "Thai", "tk": "Turkmen", "tl": "Tagalog", "tr": "Turkish", "tt": "Tatar", "ug": "Uyghur",
    "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese", "wo": "Wolof", "xh": "Xhosa",
    "yi": "Yiddish", "yo": "Yoruba", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip

# Other spellings that users bring: old codes, ISO 639-3 of the larger languages, and kinds counted with their language.
_SPELLINGS: dict[str, str] = {
    "ara": "ar", "arb": "ar", "ben": "bn", "ces": "cs", "cmn": "zh", "deu": "de", "eng": "en", "fas": "fa",
    "fil": "tl", "fra": "fr", "hin": "hi", "in": "id", "ind": "id", "ita": "it", "iw": "he", "jpn": "ja",
    "kor": "ko", "nb": "no", "nld": "nl", "nob": "no", "pol": "pl", "por": "pt", "rus": "ru", "spa": "es",
    "swa": "sw", "tam": "ta", "tur": "tr", "ukr": "uk", "vie": "vi", "zho": "zh", "mandarin": "zh", "farsi": "fa",
}  # fmt: skip


def read_language(text: str) -> str:
    """The catalogue's code for what a user wrote: `de`, `deu`, `de-AT`, `German`. Raises InputError for another."""
    wanted = text.strip().lower()
    primary = wanted.replace("_", "-").partition("-")[0]
    by_name = {name.lower(): code for code, name in NAMES.items()}
    for spelling in (wanted, primary):
        code = _SPELLINGS.get(spelling) or by_name.get(spelling) or spelling
        if code in NAMES:
            return code
    raise InputError(
        f"Language {text!r} is none that the catalogue lists for any model. "
        "Give an ISO 639-1 code or an English name, for example de or German."
    )
