_base_ = "_i2t.py"
name = "shan-coco.bigru_butd_i2t"
vocabulary = dict(file="vocab/coco_precomp_vocab.json")
