"""The text on which specimen tokenizers are trained, and inputs that have caught tokenizer errors before."""

from __future__ import annotations

CORPUS: tuple[str, ...] = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "How do I get a refund for an order that never arrived at my address?",
    "Refunds are paid within fourteen days after the returned goods have reached us.",
    "An embedding is a vector of numbers; near vectors stand for near meanings.",
    "Plants create oxygen. Photosynthesis is a process where plants create oxygen.",
    "The capital of China is Beijing, and the capital of France is Paris.",
    "Gravity is a force that attracts two bodies towards each other; it gives weight to physical objects.",
    "Is the answer yes or no? Answer with yes, or answer with no, and nothing else.",
    "Given a web search query, retrieve relevant passages that answer the query.",
    "Instruct: Given a question, find the passage that answers the question.\nQuery: what is a sememe?",
    "Represent this sentence for searching relevant passages: small models, large collections.",
    "search_query: words in a query; search_document: words in a document; clustering: a topic.",
    "def mean(values: list[float]) -> float:\n    return sum(values) / len(values)  # of one list",
    "for (int i = 0; i < n; ++i) { total += weights[i] * inputs[i]; }",
    "In 1998 it cost $12.50; by 2024 the price was 1,299.00 euros, a rise of 10,292 percent.",
    "Die Lieferung ist größer als erwartet, und die Straße war für den Lastwagen zu schmal.",
    "Le café était fermé, mais l'hôtel où nous avons dîné était très agréable.",
    "El niño pequeño preguntó dónde estaba el año pasado su corazón.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "Η γρήγορη αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.",
    "我们在北京的大学学习人工智能和自然语言处理。",
    "東京は日本の首都で、世界最大の都市の一つです。カタカナとひらがな。",
    "한국의 수도는 서울이고 많은 사람들이 살고 있습니다.",
    "السلام عليكم، كيف حالك اليوم؟ هذا نص قصير باللغة العربية.",
    "שלום לכולם, זה טקסט קצר בעברית.",
    "यह हिंदी में एक छोटा वाक्य है।",
    "ประเทศไทยเป็นประเทศในเอเชียตะวันออกเฉียงใต้",
    "İstanbul'da yağmur yağıyor ve çocuklar okula gidiyor.",
    "Smiles 😀, families 👨‍👩‍👧, flags 🇩🇪 and rockets 🚀 belong to text as well.",
)

HARD_INPUTS: tuple[str, ...] = (
    "",
    " ",
    "a",
    "hello world",
    "  two  spaces,\ttabs\nand\r\nlines  ",
    "Ünïcödé ﬁne ½ ①, naïve café; ÀÉÎ",
    "e\u0301 (combining) and \u00e9 (composed)",
    "我们在北京。東京は首都です。한국의 수도",
    "السلام عليكم؟ שלום לכולם",
    "👨‍👩‍👧 🇩🇪 🚀 😀",
    "zero\u200bwidth\ufeff and \u00a0 no-break",
    "[CLS] </s> <s> [MASK] <pad> literal markers",
    "supercalifragilisticexpialidocious " * 40,
    "x" * 400,
)
"""Empty, blank, accented, CJK, right-to-left, emoji, invisible characters, literal special tokens, over-long."""
