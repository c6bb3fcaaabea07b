_base_ = "_bigru.py"
name = "chan-coco"
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
