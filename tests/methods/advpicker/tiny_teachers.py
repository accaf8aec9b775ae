"""Small taggers with a language discriminator and a few sentences, one of them long: what tests of AdvPicker use."""
import numpy as np

from minixl.data.encoding import Encoded, encode_sentences
from minixl.data.examples import Sentence
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from tests.data.piece_tokenizer import LetterTokenizer

LABELS = ["O", "B-X", "I-X", "B-Y", "I-Y"]
SIZES = {"vocab_size": 200, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
         "max_position_embeddings": 40}
TEXTS = ["ab cd", "x", "abcd efgh ijkl mn", "y z", "ab cd", "opq rst uvw x yz abc de f ghij kl"]


def teacher(seed: int = 2, *, discriminator: str = "token", dropout: float = 0.4, dtype=np.float64, xp=np) -> Transformer:
    config = BertConfig.from_json(SIZES | {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout})
    made = Transformer(config, LABELS, "token", discriminator=discriminator, discriminator_size=7, dtype=dtype, xp=xp)
    rng = np.random.default_rng(seed)
    for parameter in made.store:
        drawn = 0.4 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
        parameter.value[...] = xp.asarray(drawn, dtype)
    return made


def encoded(texts=TEXTS, max_length: int = 40, on_long: str = "window") -> Encoded:
    rows = [Sentence(tuple(text.split()), None, i + 1) for i, text in enumerate(texts)]
    return encode_sentences(rows, LetterTokenizer(), None, max_length=max_length, on_long=on_long)
