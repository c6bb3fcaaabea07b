_base_ = "_t2i.py"
name = "shan-f30k.bigru_butd_t2i"
vocabulary = dict(file="vocab/f30k_precomp_vocab.json")
