"""A tokenizer whose pieces are easy to predict: one piece a character, spaces aside."""


class LetterTokenizer:
    """"abc" -> its code points; [CLS] is 1, [SEP] is 2."""

    cls_id, sep_id = 1, 2

    def for_language(self, language):
        return self

    def pieces_batch(self, sentences):
        return [[[ord(letter) for letter in word] for word in words] for words in sentences]

    def encode_texts(self, texts):
        return [([ord(letter) for letter in text if letter != " "], [(i, i + 1) for i, letter in enumerate(text) if letter != " "])
                for text in texts]
