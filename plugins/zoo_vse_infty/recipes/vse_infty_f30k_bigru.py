_base_ = "_bigru.py"
name = "vse-infty-f30k.bigru_butd"
vocabulary = dict(file="vocab/f30k_precomp_vocab.json")
