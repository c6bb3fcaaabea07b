_base_ = "_bigru.py"
name = "shan-f30k"
vocabulary = dict(file="vocab/f30k_precomp_vocab.json")
