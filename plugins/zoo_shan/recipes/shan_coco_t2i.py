_base_ = "_t2i.py"
name = "shan-coco.bigru_butd_t2i"
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
