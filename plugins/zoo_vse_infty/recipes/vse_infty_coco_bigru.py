_base_ = "_bigru.py"
name = "vse-infty-coco.bigru_butd"
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
