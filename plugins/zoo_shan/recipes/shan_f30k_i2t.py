_base_ = "_i2t.py"
name = "shan-f30k.bigru_butd_i2t"
vocabulary = dict(file="vocab/f30k_precomp_vocab.json")
