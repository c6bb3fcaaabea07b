_base_ = "_bigru.py"
name = "shan-coco"
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
